/**
`cutlayer run`: one run from a scenario, or a list: the scenarios that come with Cutlayer, the policies.
*/
import {type Command, InvalidArgumentError, Option} from 'commander';
import type {RunFlags} from '../run-flags.ts';

const examples = `
Examples:
  $ cutlayer run quickstart
  $ cutlayer run e2e --steps 40 --seed 7 --out runs/e2e-7
  $ cutlayer run my-scenario.ts --set lora.rank=8 --set data.partition.kind=dirichlet
  $ cutlayer run stragglers --clock virtual
  $ cutlayer run stragglers --clock virtual --bus nats
  $ cutlayer run stragglers --clock wall
  $ cutlayer run runs/e2e-7/config.json --out runs/e2e-again
  $ cutlayer run --resume runs/e2e-7
  $ cutlayer run --list policies
`;

/** Reads a whole number of the command line. */
export const wholeNumber = (text: string): number => {
	const value = Number(text);
	if (text.trim() === '' || !Number.isInteger(value) || value < 0)
		throw new InvalidArgumentError('expected a whole number from 0 on');
	return value;
};

export function registerRun(program: Command): void {
	program
		.command('run')
		.description('run a scenario: a name, a path, or the config.json of a former run')
		.argument('[scenario]')
		.option('--out <folder>', 'where the run goes; default runs/<name>-<id>')
		.option('--seed <n>', 'of all randomness', wholeNumber)
		.option('--steps <n>', 'steps a client takes in all', wholeNumber)
		.option(
			'--set <path=value>',
			'change one value of the scenario; may be repeated',
			(value, all: string[]) => [...all, value],
			[],
		)
		.addOption(
			new Option('--bus <kind>', 'what carries the messages; default nats, and memory in virtual time').choices([
				'nats',
				'memory',
			]),
		)
		.addOption(
			new Option(
				'--clock <kind>',
				"simulate the scenario's devices, links and faults, in virtual time or by the wall clock; default neither: this machine as it is",
			).choices(['virtual', 'wall']),
		)
		.option('--nats <url>', 'a broker to use instead of an embedded one')
		.option('--creds <file>', 'credentials for that broker')
		.addOption(new Option('--backend <kind>', 'what computes').choices(['tensorflow', 'wasm', 'cpu']))
		.addOption(
			new Option('--trace <level>', 'what is recorded for replay: tensors as digests, or whole')
				.choices(['off', 'digest', 'full'])
				.default('digest'),
		)
		.option('--trace-stream', 'publish the trace as well, for `cutlayer trace pull`', false)
		.option('--processes', 'a process for each actor', false)
		.option('--durable', 'with --processes: an actor that dies is started again and goes on where it was', false)
		.option('--resume <folder>', 'go on with an interrupted run')
		.addOption(
			new Option('--list [what]', 'show the scenarios that come with Cutlayer, or the policies of a scenario')
				.choices(['scenarios', 'policies'])
				.preset('scenarios'),
		)
		.option('--json', 'print one JSON object at the end, nothing else on stdout', false)
		.option('--quiet', 'print no progress', false)
		.addHelpText('after', examples)
		.action(async (name: string | undefined, given: GivenFlags) => {
			const flags: RunFlags = {...given, bus: given.bus ?? defaultBus(given)};
			if (flags.list) {
				const {listText} = await import('../run-lists.ts');
				process.stdout.write(await listText(flags.list, flags.json));
				return;
			}
			// What a run needs is loaded only when there is one.
			const {runScenario} = await import('../run-scenario.ts');
			await runScenario(name, flags);
		});
}

type GivenFlags = Omit<RunFlags, 'bus'> & {readonly bus?: RunFlags['bus']};

/** In virtual time both give the same run, and memory starts no broker. */
const defaultBus = ({clock, nats}: GivenFlags): RunFlags['bus'] =>
	clock === 'virtual' && nats === undefined ? 'memory' : 'nats';
