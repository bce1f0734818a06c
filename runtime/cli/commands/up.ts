/**
`cutlayer up`: one actor of a run that is spread over machines by hand.
*/
import {Argument, type Command} from 'commander';
import type {ActorKind} from '../../run/running-actor.ts';
import type {UpFlags} from '../guest-flags.ts';
import {withGuestOptions} from './attach.ts';

const examples = `
Each in a terminal or on a machine of its own.

Examples:
  $ cutlayer up fed-server quickstart --run together --nats nats://broker:4222
  $ cutlayer up main-server quickstart --run together --nats nats://broker:4222
  $ cutlayer up client quickstart --run together --nats nats://broker:4222 --id c0
  $ cutlayer up client quickstart --run together --nats nats://broker:4222 --id c1 --data rows.jsonl
`;

export function registerUp(program: Command): void {
	const command = program
		.command('up')
		.description('one actor of a run that is spread over machines by hand')
		.addArgument(new Argument('<role>').choices(['fed-server', 'main-server', 'client', 'evaluator']))
		.argument('<scenario>')
		.requiredOption('--run <id>', 'what this run is called, the same everywhere');
	withGuestOptions(command)
		.addHelpText('after', examples)
		.action(async (role: ActorKind, scenario: string, flags: UpFlags) => {
			const {upRun} = await import('../up-run.ts');
			await upRun(role, scenario, flags);
		});
}
