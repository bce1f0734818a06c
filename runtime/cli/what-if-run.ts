/**
Runs a run again with something changed from one of its records on, into a folder of its own that knows its parent.
*/
import {readFile} from 'node:fs/promises';
import {resolve} from 'node:path';
import {pathToFileURL} from 'node:url';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import {type Change, changedScenario, changesText, checkWhatIf, type WhatIf} from '../../protocols/what-if.ts';
import {firstDifference, type ParentRun, readParent, recordOfRound, timeOfRecord} from '../replay/parent-run.ts';
import {hashOf} from '../trace/record.ts';
import {execute} from './run-scenario.ts';
import type {WhatIfFlags, WhatIfOptions} from './what-if-flags.ts';
import {runFromCheckpoint} from './what-if-live.ts';

/** What a run that was interrupted exits with. */
export const interruptedCode = 130;

/** `cutlayer replay --what-if`: exits as a run does, and 1 when the parent could not be run again as it was. */
export async function replayWhatIf(folder: string, flags: WhatIfFlags): Promise<void> {
	const asked = flags.whatIf === undefined ? undefined : await readFileOf(flags.whatIf);
	const given = {...(asked as object), changes: [...((asked as Partial<WhatIf>)?.changes ?? []), ...changesOf(flags)]};
	const parent = await readParent(folder);
	const round = flags.round === undefined ? undefined : await recordOfRound(folder, flags.round);
	const at = flags.at ?? round;
	const whatIf = checkWhatIf(at === undefined ? given : {...given, at}, flags.whatIf ?? 'the command line');
	const out = resolve(flags.out ?? `${parent.folder}-what-if-${whatIf.at}`);
	await runWhatIf(parent, whatIf, {...flags, out});
}

/** Throws what a run throws, and `run-failed` when a run in virtual time could not be run again as it was. */
export async function runWhatIf(parent: ParentRun, whatIf: WhatIf, options: WhatIfOptions): Promise<void> {
	if (parent.clock === 'wall') return runFromCheckpoint(parent, whatIf, options);
	const {out, backend = parent.backend.split(' ')[0] as 'tensorflow', quiet, json} = options;
	const {at, changes} = whatIf;
	const level = options.trace ?? parent.header.level;
	const scenario = changedScenario(parent.scenario, changes, 'the what-if');
	const atMs = await timeOfRecord(parent.folder, at);
	const isSame = changes.length === 0;
	const label = changesText(changes);
	await execute(
		{
			scenario: parent.scenario,
			folder: out,
			run: `${parent.run.slice(0, 50)}-at-${at}`,
			whatIf: {whatIf, scenario},
			scenarioHash: isSame ? parent.header.scenarioHash : hashOf({scenario, whatIf, of: parent.header.scenarioHash}),
			config: {whatIf: {parent: parent.folder, parentRun: parent.run, at, atMs, changes, label}},
		},
		{bus: 'memory', clock: 'virtual', set: [], trace: level, backend, quiet, json},
	);
	// One that was interrupted may have stopped before the point.
	if (level !== 'off' && process.exitCode !== interruptedCode) await checkBeginning(parent, out, at);
}

async function checkBeginning(parent: ParentRun, out: string, at: number): Promise<void> {
	const differs = await firstDifference(parent.folder, out, at);
	if (differs === undefined) return;
	throw new CutlayerError(
		'run-failed',
		`Expected ${out} to be ${parent.folder} up to record ${at - 1}, found record ${differs} to differ: the same backend, thread count and version of Cutlayer as then are needed (${parent.header.backend}, ${parent.header.code})`,
	);
}

/** A `.json` file, or the default export of a `.ts` or `.js` file. Throws `usage`. */
async function readFileOf(path: string): Promise<unknown> {
	try {
		if (path.endsWith('.json')) return JSON.parse(await readFile(path, 'utf8'));
		const module = (await import(pathToFileURL(resolve(path)).href)) as {default?: unknown};
		return module.default;
	} catch (error) {
		throw new CutlayerError('usage', `Cannot read the what-if ${path}: ${errorText(error)}`, {cause: error});
	}
}

/** The changes that the convenience forms ask for. */
function changesOf({set = [], drop = [], delay = [], without = []}: WhatIfFlags): Change[] {
	return [
		...without.map(client => ({kind: 'without', client}) as const),
		...drop.map(message => ({kind: 'drop', message, times: 1}) as const),
		...delay.map(text => {
			const [message = '', ms = ''] = text.split('=');
			return {kind: 'delay', message, ms: Number(ms), times: 1} as const;
		}),
		...set.map(setOf),
	];
}

function setOf(text: string): Change {
	const equals = text.indexOf('=');
	if (equals < 1)
		throw new CutlayerError(
			'usage',
			`Expected --set path=value, got \`${text}\`; write for example --set aggregation.kind=median`,
		);
	return {kind: 'set', path: text.slice(0, equals), value: parsed(text.slice(equals + 1))};
}

const parsed = (text: string): unknown => {
	try {
		return JSON.parse(text);
	} catch {
		return text;
	}
};
