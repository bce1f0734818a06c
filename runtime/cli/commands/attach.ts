/**
`cutlayer attach`: joins a running run from another process or machine.
*/
import {Argument, type Command, Option} from 'commander';
import type {AttachFlags} from '../guest-flags.ts';
import {wholeNumber} from './run.ts';

const examples = `
Examples:
  $ cutlayer attach observer --nats nats://127.0.0.1:4222
  $ cutlayer attach client --run quickstart-3f2a1b --nats nats://127.0.0.1:4222 --id kim --data rows.jsonl
  $ cutlayer attach client --run quickstart-3f2a1b --nats nats://127.0.0.1:4222 --id c1
  $ cutlayer attach evaluator --nats nats://127.0.0.1:4222 --every 2
  $ cutlayer attach probe --nats nats://127.0.0.1:4222 --creds broker/creds/spy.nk
`;

/** The options of an actor that takes part in a run over a broker. */
export function withGuestOptions(command: Command): Command {
	return command
		.addOption(new Option('--nats <url>', 'the broker').makeOptionMandatory())
		.option('--creds <file>', 'credentials for the broker')
		.option('--id <id>', 'of this actor')
		.option('--data <path>', 'rows of its own: .csv, .jsonl or .txt')
		.option('--shard <n>', "one of the run's shards instead, from 0", wholeNumber)
		.option('--model <model>', 'where the same model is here')
		.option(
			'--set <path=value>',
			'change one value of the scenario here; may be repeated',
			(value, all: string[]) => [...all, value],
			[],
		)
		.option('--out <folder>', 'where its folder goes; default runs/<run>-<id>')
		.addOption(new Option('--backend <kind>', 'what computes').choices(['tensorflow', 'wasm', 'cpu']))
		.addOption(
			new Option('--trace <level>', 'what is recorded for replay').choices(['off', 'digest', 'full']).default('digest'),
		)
		.option('--broker-lease-ms <ms>', 'how long a broker that is away is waited for; default 60000', wholeNumber)
		.option('--json', 'print JSON on stdout, nothing else', false)
		.option('--quiet', 'print no progress', false);
}

export function registerAttach(program: Command): void {
	const command = program
		.command('attach')
		.description('join a running run as a client, an evaluator, an observer or a probe')
		.addArgument(new Argument('<role>').choices(['client', 'evaluator', 'observer', 'probe']))
		.option('--run <id>', 'the run; default the only one of the broker')
		.option('--rank <n>', 'of the adapter, when this client insists on one', wholeNumber)
		.option('--cut <n>', 'blocks it holds, when this client insists', wholeNumber)
		.option('--every <n>', 'an evaluator or a probe measures every so many rounds', wholeNumber)
		.option('--through-head', 'a probe also compares with what the blocks below the cut make of each token')
		.option('--replace', 'take the place of a client with this id that is still a member', false);
	withGuestOptions(command)
		.addHelpText('after', examples)
		.action(async (role: 'client' | 'evaluator' | 'observer' | 'probe', flags: AttachFlags) => {
			if (role === 'observer') {
				const {observeRun} = await import('../observe-run.ts');
				return observeRun(flags);
			}
			if (role === 'probe') {
				const {probeRun} = await import('../probe-run.ts');
				return probeRun(flags);
			}
			const {attachRun} = await import('../attach-run.ts');
			await attachRun(role, flags);
		});
}
