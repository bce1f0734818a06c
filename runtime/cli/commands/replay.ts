/**
`cutlayer replay`: feeds a run's recorded inputs to the same machines and compares what they do. Exits 0 when all is as
recorded, 1 at the first divergence.
*/
import {type Command, InvalidArgumentError, Option} from 'commander';
import type {Divergence, ReplayResult} from '../../replay/replay.ts';
import type {Trace} from '../../trace/trace.ts';
import {isWhatIf, type WhatIfFlags} from '../what-if-flags.ts';

type ReplayFlags = {
	readonly actor?: string;
	readonly to?: number;
	readonly step: boolean;
	readonly json: boolean;
} & WhatIfFlags;

const examples = `
Examples:
  $ cutlayer replay runs/quickstart
  $ cutlayer replay runs/quickstart --actor c1 --to 400
  $ cutlayer replay runs/quickstart --step
  $ printf 'to step c1 0 3\ncauses\n' | cutlayer replay runs/quickstart --step
  $ cutlayer replay runs/stragglers --what-if what-if.json --out runs/other
  $ cutlayer replay runs/stragglers --round 3 --without c7
  $ cutlayer replay runs/stragglers --at 1200 --set closing.kind=quorum --set closing.fraction=0.8
  $ cutlayer replay runs/stragglers --at 1200 --drop upload/c3 --delay gradient/main/c2=500
`;

export const recordNumber = (text: string): number => {
	if (!/^\d+$/.test(text)) throw new InvalidArgumentError('expected the number of a record');
	return Number(text);
};

export function registerReplay(program: Command): void {
	program
		.command('replay')
		.description('feed recorded inputs to the same machines and compare every command and state')
		.argument('<run>', 'a run folder, or one .trace file')
		.option('--actor <id>', 'only this actor')
		.option('--to <n>', 'stop after this record', recordNumber)
		.option('--step', 'go through it record by record, on and back; help there lists what can be asked', false)
		.option('--what-if <file>', 'run again, changed from a record on as this .json or .ts file says (at, changes)')
		.option('--at <n>', 'the first record that may differ', recordNumber)
		.option('--round <n>', 'the record that opens this round, in place of --at', recordNumber)
		.option('--set <path=value>', 'change a value of the scenario from there on; may be repeated', all, [])
		.option('--drop <message>', 'a message that does not arrive: its id, or verb[/sender[/receiver]]', all, [])
		.option('--delay <message=ms>', 'a message that arrives so much later', all, [])
		.option('--without <client>', 'a client that leaves there', all, [])
		.option('--out <folder>', 'where the changed run goes; default beside the run')
		.addOption(new Option('--backend <kind>', 'what computes the changed run').choices(['tensorflow', 'wasm', 'cpu']))
		.option('--json', 'print one JSON object', false)
		.option('--quiet', 'print no progress', false)
		.addHelpText('after', examples)
		.action(replay);
}

const all = (value: string, former: string[]): string[] => [...former, value];

async function replay(run: string, flags: ReplayFlags): Promise<void> {
	if (isWhatIf(flags)) return (await import('../what-if-run.ts')).replayWhatIf(run, flags);
	const {actor, to, json} = flags;
	const {replayTrace} = await import('../../replay/replay.ts');
	const {Trace} = await import('../../trace/trace.ts');
	const trace = await Trace.open(run);
	try {
		if (flags.step) return await step(trace, flags);
		const result = await replayTrace(trace, {...(actor !== undefined && {actor}), ...(to !== undefined && {to})});
		if (actor !== undefined && result.actors.length === 0)
			throw new (await import('../../../protocols/errors.ts')).CutlayerError(
				'usage',
				`There is no actor ${actor} in ${run}: expected one of ${(await trace.words()).actors.join(', ')}`,
			);
		process.stdout.write(json ? `${JSON.stringify(plain(result, trace))}\n` : await describe(result, trace, to));
		process.exitCode = result.divergence ? 1 : 0;
	} finally {
		await trace.close();
	}
}

async function step(trace: Trace, {actor, to, json}: ReplayFlags): Promise<void> {
	if (json || to !== undefined) {
		const {CutlayerError} = await import('../../../protocols/errors.ts');
		const flag = json ? '--json' : '--to';
		throw new CutlayerError('usage', `--step and ${flag} do not go together; leave out ${flag}`);
	}
	const {stepThrough} = await import('../step-session.ts');
	const terminal = process.stdin.isTTY && process.stdout.isTTY ? process.stdout : undefined;
	const print = (text: string) => void process.stdout.write(text);
	const differences = await stepThrough({trace, actor, input: process.stdin, print, terminal});
	process.exitCode = differences > 0 ? 1 : 0;
}

function plain({divergence, ends, ...counts}: ReplayResult, trace: Trace) {
	const {at, causes, ...difference} = divergence ?? {};
	return {
		...counts,
		ends: Object.fromEntries(ends),
		divergence: at
			? {...difference, record: trace.label(at), causes: (causes ?? []).map(cause => trace.label(cause))}
			: null,
	};
}

async function describe(result: ReplayResult, trace: Trace, to: number | undefined): Promise<string> {
	const {stateName} = await import('../../trace/words.ts');
	const {inputs, commands, skipped, actors, divergence, ends} = result;
	const lines = [
		`${inputs} inputs and ${commands} commands of ${actors.join(', ')}`,
		...(skipped > 0 ? [`${skipped} inputs follow on lost records and were not compared`] : []),
		...(divergence ? await divergenceText(divergence, trace) : ['no divergence']),
		...(to === undefined
			? []
			: [...ends].map(([id, end]) => `${id.padEnd(10)} ${stateName(end.state)}\n${indented(end.context)}`)),
	];
	return `${lines.join('\n')}\n`;
}

async function divergenceText(
	{at, actor, what, recorded, replayed, state, causes}: Divergence,
	trace: Trace,
): Promise<string[]> {
	const {lineOf, stateName} = await import('../../trace/words.ts');
	return [
		`first divergence: record ${trace.label(at)} of ${actor}, ${what}`,
		lineOf(at.record, trace.label(at)),
		`  recorded: ${JSON.stringify(recorded) ?? 'nothing'}`,
		`  replayed: ${JSON.stringify(replayed) ?? 'nothing'}`,
		`  state:    ${stateName(state)}`,
		'causes, nearest first:',
		...causes.map(cause => lineOf(cause.record, trace.label(cause))),
	];
}

const indented = (value: unknown): string =>
	JSON.stringify(value, null, 2)
		.split('\n')
		.map(line => `    ${line}`)
		.join('\n');
