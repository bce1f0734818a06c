/**
`cutlayer replay`: feeds a run's recorded inputs to the same machines and compares what they do. Exits 0 when all is as
recorded, 1 at the first divergence.
*/
import {type Command, InvalidArgumentError} from 'commander';
import type {Divergence, ReplayResult} from '../../replay/replay.ts';
import type {Trace} from '../../trace/trace.ts';

type ReplayFlags = {readonly actor?: string; readonly to?: number; readonly json: boolean};

const examples = `
Examples:
  $ cutlayer replay runs/quickstart
  $ cutlayer replay runs/quickstart --actor c1 --to 400
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
		.option('--json', 'print one JSON object', false)
		.addHelpText('after', examples)
		.action(replay);
}

async function replay(run: string, {actor, to, json}: ReplayFlags): Promise<void> {
	const {replayTrace} = await import('../../replay/replay.ts');
	const {Trace} = await import('../../trace/trace.ts');
	const trace = await Trace.open(run);
	try {
		const result = await replayTrace(trace, {...(actor !== undefined && {actor}), ...(to !== undefined && {to})});
		if (actor !== undefined && result.actors.length === 0)
			throw new (await import('../../../protocols/errors.ts')).CutlayerError(
				'usage',
				`There is no actor ${actor} in ${run}: its actors are shown by cutlayer replay ${run}`,
			);
		process.stdout.write(json ? `${JSON.stringify(plain(result, trace))}\n` : await describe(result, trace, to));
		process.exitCode = result.divergence ? 1 : 0;
	} finally {
		await trace.close();
	}
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
