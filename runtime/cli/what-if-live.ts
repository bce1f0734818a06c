/**
A run in real time that goes on otherwise: from its last checkpoint before the point, in the simulator, with the same tensors,
data and seeds. Its messages cannot come in the order in which they came then, so its beginning is a checkpoint and no record.
*/
import {join} from 'node:path';
import {CutlayerError} from '../../protocols/errors.ts';
import {changedScenario, changesText, type WhatIf} from '../../protocols/what-if.ts';
import {type ParentRun, recordAtTime, timeOfRecord} from '../replay/parent-run.ts';
import {type CheckpointAt, listCheckpoints} from '../run/checkpoint.ts';
import {runFiles} from '../run/folder.ts';
import {readRows} from '../run/metrics-file.ts';
import type {MetricsRow} from '../run/recorder.ts';
import {hashOf} from '../trace/record.ts';
import {execute} from './run-scenario.ts';
import type {WhatIfOptions} from './what-if-flags.ts';

/** The changes hold before the run goes on: a client says by its hello what it is. */
const firstRecord = 1;

/** Throws what a run throws, and `usage` when no checkpoint was written before the point. */
export async function runFromCheckpoint(parent: ParentRun, whatIf: WhatIf, options: WhatIfOptions): Promise<void> {
	const {out, backend = parent.backend.split(' ')[0] as 'tensorflow', quiet, json} = options;
	const {changes} = whatIf;
	const scenario = changedScenario(parent.scenario, changes, 'the what-if');
	const from = await checkpointBefore(parent, whatIf.at);
	const at = await recordAtTime(parent.folder, from.clockMs);
	const label = changesText(changes);
	await execute(
		{
			scenario: parent.scenario,
			folder: out,
			run: `${parent.run.slice(0, 50)}-at-${at}`,
			whatIf: {whatIf: {at: firstRecord, changes}, scenario},
			takenUp: {...from, metrics: join(parent.folder, runFiles.metrics)},
			scenarioHash: hashOf({scenario, changes, of: parent.header.scenarioHash, clockMs: from.clockMs}),
			config: {whatIf: {parent: parent.folder, parentRun: parent.run, at, atMs: from.clockMs, changes, label}},
		},
		{bus: 'memory', clock: 'virtual', set: [], trace: options.trace ?? parent.header.level, backend, quiet, json},
	);
	if (changes.length === 0 && !quiet && !json) process.stderr.write(`${await likeness(parent, out, from)}\n`);
}

async function checkpointBefore({folder}: ParentRun, at: number): Promise<CheckpointAt> {
	const checkpoints = await listCheckpoints(join(folder, runFiles.checkpoints));
	const atMs = await timeOfRecord(folder, at);
	const found = checkpoints.findLast(({clockMs}) => clockMs <= atMs);
	if (found) return found;
	const [first] = checkpoints;
	const earliest = first && (await recordAtTime(folder, first.clockMs));
	const there = earliest === undefined ? 'it has none' : `its first is from record ${earliest}`;
	const later = earliest === undefined ? '' : `give --at ${earliest} or later, or `;
	throw new CutlayerError(
		'usage',
		`The run in ${folder} was in real time and goes on otherwise only from a checkpoint before record ${at}: ${there}; ${later}make the run with --set checkpoint.everyRounds=1 --set checkpoint.keep=0, or with --clock virtual`,
	);
}

/** How far the losses after the checkpoint are those of the parent, in words. */
async function likeness(parent: ParentRun, out: string, {metricsRows}: CheckpointAt): Promise<string> {
	const [then, now] = [
		await readRows(join(parent.folder, runFiles.metrics)),
		await readRows(join(out, runFiles.metrics)),
	];
	const {both, only, difference} = compareLosses(then.slice(metricsRows), now.slice(metricsRows));
	const rest = only === 0 ? '' : `, ${only} are in one of the two alone`;
	return `${both} losses after the checkpoint are in the parent too${rest}; the largest relative difference is ${difference.toPrecision(2)}`;
}

/** Losses of the same batch, or of the same evaluation; `difference` is relative to the parent's. */
export function compareLosses(
	then: readonly MetricsRow[],
	now: readonly MetricsRow[],
): {both: number; only: number; difference: number} {
	const [a, b] = [lossesOf(then), lossesOf(now)];
	const shared = [...a.keys()].filter(key => b.has(key));
	const differences = shared.map(key => Math.abs(a.get(key)! - b.get(key)!) / Math.max(Math.abs(a.get(key)!), 1e-12));
	return {both: shared.length, only: a.size + b.size - 2 * shared.length, difference: Math.max(0, ...differences)};
}

function lossesOf(rows: readonly MetricsRow[]): Map<string, number> {
	const fields = ['kind', 'actor', 'client', 'round', 'step', 'adapterVersion'];
	return new Map(
		rows.flatMap(row => {
			const values = row as Readonly<Record<string, unknown>>;
			return typeof values.loss === 'number'
				? [[fields.map(field => values[field]).join(' '), values.loss] as const]
				: [];
		}),
	);
}
