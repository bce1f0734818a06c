/**
`cutlayer actor`: one actor of a run, in a process of its own. Not for people: `cutlayer run --processes` starts it.
*/
import {type Command, Option} from 'commander';
import type {ActorRole} from '../../run/running-actor.ts';

export function registerActor(program: Command): void {
	program
		.command('actor', {hidden: true})
		.description('serve a run as one of its actors; started by cutlayer run --processes')
		.addOption(
			new Option('--kind <kind>').choices(['client', 'main-server', 'fed-server', 'evaluator']).makeOptionMandatory(),
		)
		.requiredOption('--id <id>')
		.action(async (role: ActorRole) => {
			const {serveActor} = await import('../../run/actor-main.ts');
			serveActor(role);
		});
}
