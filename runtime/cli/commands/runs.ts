/**
`cutlayer runs`: the runs of a broker.
*/
import type {Command} from 'commander';
import type {BrokerFlags} from '../broker-access.ts';

const examples = `
Examples:
  $ cutlayer runs --nats nats://127.0.0.1:4222
  $ cutlayer runs --nats tls://broker.example:4222 --creds me.creds --json
`;

export function registerRuns(program: Command): void {
	program
		.command('runs')
		.description('list the runs of a broker')
		.requiredOption('--nats <url>', 'the broker')
		.option('--creds <file>', 'credentials for the broker')
		.option('--json', 'print one JSON array', false)
		.addHelpText('after', examples)
		.action(async (flags: BrokerFlags & {readonly json: boolean}) => {
			const {listRuns} = await import('../list-runs.ts');
			await listRuns(flags);
		});
}
