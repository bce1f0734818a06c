/**
`cutlayer ctl`: changes a running run.
*/
import {type Command, Option} from 'commander';
import type {CtlFlags} from '../guest-flags.ts';

const examples = `
Commands of a run:
  pause, resume       hold at the opening of the next round, and go on
  drop ID             a client of any process leaves
  kill ID             end an actor of the run's own as if it had crashed
  slow ID=MS          each of its passes takes so much longer
  policy PATH=VALUE   closing, aggregation, timing or checkpoint of the scenario
  wire KIND=FORMAT    activations, gradients or adapters of the run's own actors in another format

Examples:
  $ cutlayer ctl quickstart-3f2a1b pause --nats nats://127.0.0.1:4222
  $ cutlayer ctl quickstart-3f2a1b slow c1=500 --nats nats://127.0.0.1:4222
  $ cutlayer ctl quickstart-3f2a1b policy aggregation.kind=median --nats nats://127.0.0.1:4222
`;

export function registerCtl(program: Command): void {
	program
		.command('ctl')
		.description('change a running run: pause, resume, drop, kill, slow, a policy or a wire format')
		.argument('<run>')
		.argument('<command>')
		.argument('[value]')
		.addOption(new Option('--nats <url>', 'the broker').makeOptionMandatory())
		.option('--creds <file>', 'credentials for the broker')
		.option('--json', 'print one JSON object', false)
		.addHelpText('after', examples)
		.action(async (run: string, command: string, value: string | undefined, flags: CtlFlags) => {
			const {controlRun} = await import('../control-run.ts');
			await controlRun(run, command, value, flags);
		});
}
