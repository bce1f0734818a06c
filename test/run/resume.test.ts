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
const sorted = (rows: readonly MetricsRow[], {pipelineDepth = 1}: Partial<Scenario> = {}) =>
	rows
		.map(({timeMs: _, bytesUp: _up, bytesDown: _down, ...row}) => {
			// Which version a client has seen when it sends ahead is a matter of time too.
			const {serverStaleness, ...rest} = row;
			return JSON.stringify(pipelineDepth > 1 ? rest : {...rest, serverStaleness});
		})
		.sort();

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
		const rows = await readRows(join(folder, runFiles.metrics));
		t.deepEqual(sorted(rows, scenario), sorted(straight.rows, scenario));
		t.deepEqual(wholeAdapter(resumed), wholeAdapter(straight), `stopped after rows ${stops}`);
	});
}

test('a run interrupted anywhere and resumed ends with the same rows and the same adapters, bit for bit', async t => {
	const scenario = tinyScenario(plain);
	const property = fc.asyncProperty(fc.integer({min: 1, max: 18}), row => compare(t, scenario, [row]));
	await fc.assert(property, {numRuns: 5, seed: 3, endOnFailure: true});
});

test('a run may be interrupted several times', t => compare(t, tinyScenario(plain), [3, 2, 6, 1]));

/** The order of several clients at their own pace is that of a clock; one has none. */
const single = {clients: 1, update: {kind: 'sequential'}} as const;

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
	'labels at the clients': {...plain, cut: 1, labels: 'client', tailBlocks: 1},
	'two batches of each client on their way': {...plain, pipelineDepth: 2, training: {steps: 8, stepsPerRound: 4}},
	'four batches on their way, and copies of the tail': {
		...plain,
		pipelineDepth: 4,
		update: {kind: 'replicas'},
		training: {steps: 6, stepsPerRound: 6},
	},
	'a schedule that decays': {...plain, training: {...training, schedule: {kind: 'linear'}}},
	'the moments of FedAdam': {...plain, aggregation: {kind: 'fedadam', learningRate: 0.1}},
	'the momentum of FedAvgM': {...plain, aggregation: {kind: 'fedavgm'}},
	'the adapter that FedProx pulls to': {
		...plain,
		training: {steps: 6, stepsPerRound: 3},
		aggregation: {kind: 'fedprox', mu: 10},
	},
	'clients that are drawn anew each round': {...plain, selection: {kind: 'random', count: 2}},
	'FedAsync over one client': {...plain, ...single, aggregation: {kind: 'fedasync', mixing: 0.3}},
	'FedBuff over one client': {...plain, ...single, aggregation: {kind: 'fedbuff', count: 1, learningRate: 0.5}},
};
for (const [what, changes] of Object.entries(variants)) {
	test(`a run resumes exactly with ${what}`, t => compare(t, tinyScenario(changes), [4, 5]));
}

test('a run that is interrupted as its last row comes is done', t =>
	withRunFolder(async folder => {
		const scenario = tinyScenario({...plain, clients: 1});
		const rowsMax = (await uninterrupted(scenario)).rows.length;
		const {summary} = await part(scenario, folder, {isResumed: false, rowsMax});
		t.is(summary.status, 'done');
	}));

for (const aggregation of [
	{kind: 'fedasync', aggregations: 9},
	{kind: 'fedbuff', count: 2, aggregations: 5},
] as const) {
	test(`clients at their own pace go on where they were when a run resumes, nothing counts twice: ${aggregation.kind}`, t =>
		withRunFolder(async folder => {
			const scenario = tinyScenario({...plain, update: {kind: 'sequential'}, aggregation});
			const resumed = await runInParts(scenario, folder, [2, 5, 3]);
			t.is(resumed.summary.status, 'done', resumed.summary.reason);
			const rows = await readRows(join(folder, runFiles.metrics));
			const rounds = rows.filter(row => row.kind === 'round');
			t.deepEqual(
				rounds.map(row => row.adapterVersion),
				rounds.map((_, index) => index + 1),
			);
			t.is(rounds.length, aggregation.aggregations);
			t.true(rounds.every(row => row.uploads === (aggregation.kind === 'fedbuff' ? 2 : 1)));
			const steps = rows.filter(row => row.kind === 'step').map(row => `${row.actor} ${row.round} ${row.step}`);
			t.is(new Set(steps).size, steps.length);
			// Each upload that counted was of two steps; what was under way at the end came to nothing.
			const counted = rounds.length * Number(rounds[0]!.uploads) * training.stepsPerRound;
			t.true(
				steps.length >= counted && steps.length <= counted + 3 * training.stepsPerRound,
				`${steps.length} of ${counted}`,
			);
			t.true(
				rounds.every(row =>
					String(row.adapterStaleness)
						.split(' ')
						.every(tau => Number(tau) >= 0),
				),
			);
		}));
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
