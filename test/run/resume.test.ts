import {readdir, truncate} from 'node:fs/promises';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import fc from 'fast-check';
import type {Scenario, ScenarioFile} from '../../protocols/scenario.ts';
import {readCheckpoint} from '../../runtime/run/checkpoint.ts';
import {runFiles} from '../../runtime/run/folder.ts';
import {readRows} from '../../runtime/run/metrics-file.ts';
import type {MetricsRow} from '../../runtime/run/recorder.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {runIn, type TinyResult, tinyBench, tinyScenario, wholeAdapter, withRunFolder} from '../_helpers/tiny-run.ts';

const bench = await tinyBench(await nativeBackend(), 'tiny-gpt2');
const training = {steps: 6, stepsPerRound: 2} as const;
const plain = {evaluation: {everyRounds: 0}, lora: {dropout: 0.1}, training} as const;

/** What a step came to, whoever reported it first; times and bytes are the process's, not the training's. */
const sorted = (rows: readonly MetricsRow[]) =>
	rows.map(({timeMs: _, bytesUp: _up, bytesDown: _down, ...row}) => JSON.stringify(row)).sort();

const whole = new Map<string, Promise<TinyResult>>();
const uninterrupted = (scenario: Scenario) => {
	const key = JSON.stringify(scenario);
	if (!whole.has(key)) whole.set(key, bench.run(scenario));
	return whole.get(key)!;
};

/** One part of a run in `folder`, interrupted when its `rowsMax`-th row arrives. */
async function part(scenario: Scenario, folder: string, options: {isResumed: boolean; rowsMax?: number}) {
	const {world, close} = bench.world(scenario);
	let interrupt = () => {};
	let count = 0;
	try {
		return await runIn(world, {
			scenario,
			folder,
			isResumed: options.isResumed,
			onLive: live => {
				interrupt = () => live.interrupt();
			},
			onRow: () => {
				if (++count === options.rowsMax) interrupt();
			},
		});
	} finally {
		await close();
	}
}

/** Interrupts after each count of rows in turn, then runs to the end. */
async function runInParts(scenario: Scenario, folder: string, stops: readonly number[]): Promise<TinyResult> {
	let isResumed = false;
	for (const rowsMax of stops) {
		const result = await part(scenario, folder, {isResumed, rowsMax});
		if (result.summary.status === 'done') return result;
		isResumed = true;
	}
	return part(scenario, folder, {isResumed});
}

async function compare(t: ExecutionContext, scenario: Scenario, stops: readonly number[]) {
	await withRunFolder(async folder => {
		const resumed = await runInParts(scenario, folder, stops);
		const straight = await uninterrupted(scenario);
		t.is(resumed.summary.status, 'done', resumed.summary.reason);
		t.deepEqual(sorted(await readRows(join(folder, runFiles.metrics))), sorted(straight.rows));
		t.deepEqual(wholeAdapter(resumed), wholeAdapter(straight), `stopped after rows ${stops}`);
	});
}

test('a run interrupted anywhere and resumed ends with the same rows and the same adapters, bit for bit', async t => {
	const scenario = tinyScenario(plain);
	const property = fc.asyncProperty(fc.integer({min: 1, max: 18}), row => compare(t, scenario, [row]));
	await fc.assert(property, {numRuns: 5, seed: 3, endOnFailure: true});
});

test('a run may be interrupted several times', t => compare(t, tinyScenario(plain), [3, 2, 6, 1]));

const variants: Record<string, Partial<ScenarioFile>> = {
	'activations and gradients in bf16, adapters in i8': {
		...plain,
		wire: {activations: 'bf16', gradients: 'bf16', adapters: 'i8'},
	},
	'everything in i8': {...plain, wire: {activations: 'i8', gradients: 'i8', adapters: 'i8'}},
	'gradients that wait for an optimizer step': {...plain, training: {...training, stepsPerRound: 3, accumulation: 2}},
	'a copy of the tail for each client': {...plain, update: {kind: 'replicas'}},
	'no main server': {...plain, mainServer: false},
	'the cut below all blocks': {...plain, cut: 0},
	'unlike cuts': {...plain, cut: [1, 3]},
	'a schedule that decays': {...plain, training: {...training, schedule: {kind: 'linear'}}},
};
for (const [what, changes] of Object.entries(variants)) {
	test(`a run resumes exactly with ${what}`, t => compare(t, tinyScenario(changes), [4, 5]));
}

test('a torn newest checkpoint is passed over for the one before, and the run ends the same', async t => {
	const scenario = tinyScenario(plain);
	await withRunFolder(async folder => {
		await part(scenario, folder, {isResumed: false, rowsMax: 2});
		await part(scenario, folder, {isResumed: true, rowsMax: 4});
		const checkpoints = join(folder, runFiles.checkpoints);
		const names = (await readdir(checkpoints)).sort();
		t.is(names.length, 2);
		const newest = await readCheckpoint(checkpoints);
		await truncate(join(checkpoints, names[1]!, 'tensors.safetensors'), 1000);
		const older = await readCheckpoint(checkpoints);
		t.true(older.metricsRows < newest.metricsRows);
		const resumed = await part(scenario, folder, {isResumed: true});
		const straight = await uninterrupted(scenario);
		t.deepEqual(sorted(await readRows(join(folder, runFiles.metrics))), sorted(straight.rows));
		t.deepEqual(wholeAdapter(resumed), wholeAdapter(straight));
	});
});

test('with both checkpoints torn a resume says what is wrong with each', async t => {
	const scenario = tinyScenario(plain);
	await withRunFolder(async folder => {
		await part(scenario, folder, {isResumed: false, rowsMax: 2});
		const checkpoints = join(folder, runFiles.checkpoints);
		for (const name of await readdir(checkpoints)) await truncate(join(checkpoints, name, 'actors.json'), 20);
		const error = await t.throwsAsync(part(scenario, folder, {isResumed: true}));
		t.regex(error.message, /No usable checkpoint in .*00000000: .*start the run anew/);
	});
});

test('a checkpoint between rounds changes nothing, and a run goes on from it', async t => {
	const scenario = tinyScenario({...plain, checkpoint: {everyRounds: 1}});
	await withRunFolder(async folder => {
		const result = await part(scenario, folder, {isResumed: false});
		const straight = await uninterrupted(tinyScenario(plain));
		t.is(result.summary.status, 'done');
		t.deepEqual(sorted(result.rows), sorted(straight.rows));
		t.deepEqual(wholeAdapter(result), wholeAdapter(straight));
		t.is((await readdir(join(folder, runFiles.checkpoints))).length, 2);
		// As after a crash: the run goes on from what the last rounds left.
		const resumed = await part(scenario, folder, {isResumed: true});
		t.deepEqual(sorted(await readRows(join(folder, runFiles.metrics))), sorted(straight.rows));
		t.deepEqual(wholeAdapter(resumed), wholeAdapter(straight));
	});
});
