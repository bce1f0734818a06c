import test from 'ava';
import fc from 'fast-check';
import {planStep} from '../../actors/policies/server-update.ts';
import type {ScenarioFile} from '../../protocols/scenario.ts';
import {tensorOf} from '../../protocols/tensor.ts';
import {Trainer} from '../../runtime/compute/trainer.ts';
import {fromNamedTensors} from '../../runtime/model/lora.ts';
import {goldenTensors} from '../_helpers/golden.ts';
import {simConfig, simScenario, simulate} from '../_helpers/simulate.ts';

const aggregations: NonNullable<ScenarioFile['aggregation']>[] = [
	{kind: 'fedavg'},
	{kind: 'uniform'},
	{kind: 'fedprox', mu: 1},
	{kind: 'fedavgm'},
	{kind: 'fedadam'},
	{kind: 'fedyogi'},
	{kind: 'median'},
	{kind: 'trimmed-mean'},
	{kind: 'krum', byzantine: 1},
	{kind: 'multi-krum', byzantine: 1},
	{kind: 'clipped', normMax: 0.01},
];

const validation = (run: Awaited<ReturnType<typeof simulate>>) => run.summary.evaluations.map(({loss}) => loss);

test('every aggregation trains to the end, and its own way', async t => {
	const seen = new Map<string, string>();
	for (const aggregation of aggregations) {
		const scenario = simScenario({clients: 5, aggregation, training: {steps: 6, stepsPerRound: 3}});
		const run = await simulate(scenario, {arithmetic: 'real'});
		t.is(run.summary.status, 'done', aggregation.kind);
		const losses = validation(run);
		t.is(losses.length, 3);
		t.true(losses.every(Number.isFinite));
		const key = losses.join();
		t.false(seen.has(key), `${aggregation.kind} gives the losses of ${seen.get(key)}`);
		seen.set(key, aggregation.kind!);
	}
});

test('Krum with fewer uploads than it needs leaves the global adapter as it is', async t => {
	const run = await simulate(
		simScenario({
			clients: 5,
			aggregation: {kind: 'krum', byzantine: 1},
			faults: [{kind: 'dropout', client: 'c4', atMs: 1, isAnnounced: true}],
		}),
	);
	t.is(run.summary.status, 'done');
	t.true(run.rows.every(row => row.kind !== 'round' || row.adapterVersion === 0));
});

test('FedProx adds mu (w - w_g) to the gradient, as the golden says', async t => {
	const golden = await goldenTensors('aggregation/aggregation.f32.safetensors');
	const of = (name: string) => golden.get(`fedprox.${name}`)!;
	const [rows, columns] = of('x').shape as [number, number];
	const adapter = (values: Float32Array) => ({'block.0.q.A': tensorOf(values, [rows, columns])});
	const spec = {
		part: {from: 0, to: 1, hasEmbedding: true, hasHead: false},
		lora: {rank: rows, alpha: 1, targets: ['q'] as const, dropout: 0, isRankStabilised: false},
		seed: 1,
		optimizer: {kind: 'sgd'} as const,
		schedule: {kind: 'constant', lr: 1} as const,
		clipNorm: 0,
		labelSmoothing: 0,
		proximalMu: 0.1,
	};
	const trainer = new Trainer(spec, simConfig, adapter(of('x').values));
	trainer.adopt({adapter: fromNamedTensors(adapter(of('x_global').values))}, 'keep');
	// A step of size 1 along x_global - x brings it to x; the next applies gradient and pull there.
	const back = of('x_global').values.map((value, place) => value - of('x').values[place]!);
	const step = (values: Float32Array, position: number) =>
		trainer.train(
			{'block.0.q.A': {shape: [rows, columns], values: values.slice()}},
			{weight: 1, isApplied: true, optimizerStep: position},
		);
	step(back, 0);
	step(of('grad').values, 1);
	const found = new Float32Array(trainer.read()['block.0.q.A']!.bytes.slice().buffer);
	const expected = of('x').values.map((value, place) => value - of('out.grad').values[place]!);
	const error = Math.max(...found.map((value, place) => Math.abs(value - expected[place]!)));
	t.true(error < 1e-5, `off by ${error}`);
});

test('a plan of the main server has weights that sum to 1, none negative, over clients that wait', t => {
	const updates = fc.oneof(
		fc.constant({kind: 'parallel'} as const),
		fc.constant({kind: 'sequential'} as const),
		fc.record({kind: fc.constant('buffered' as const), count: fc.integer({min: 1, max: 6})}),
	);
	const members = fc.array(
		fc.record({weight: fc.nat(10), isWaiting: fc.boolean(), isFinished: fc.boolean(), staleness: fc.nat(5)}),
		{
			maxLength: 6,
		},
	);
	fc.assert(
		fc.property(updates, members, (update, drawn) => {
			const all = drawn.map((member, index) => ({...member, client: `c${index}`}));
			const waiting = all.filter(({isWaiting}) => isWaiting).map(member => ({...member, round: 0, step: 0}));
			const finished = all.filter(({isFinished, isWaiting}) => isFinished && !isWaiting).length;
			const plan = planStep(update, {round: 0, cohort: all, waiting, finished});
			if (!plan) {
				// Somebody can still come, or nobody is here.
				return (
					waiting.length === 0 ||
					(update.kind !== 'sequential' && waiting.length < all.length - (update.kind === 'buffered' ? finished : 0))
				);
			}
			const sum = plan.reduce((total, {weight}) => total + weight, 0);
			const isPresent = plan.every(({client}) => waiting.some(batch => batch.client === client));
			return Math.abs(sum - 1) < 1e-9 && plan.every(({weight}) => weight >= 0) && isPresent;
		}),
	);
	t.pass();
});

test('a buffered plan weighs p by the root of the staleness, renormalised', t => {
	const cohort = [
		{client: 'a', weight: 0.5},
		{client: 'b', weight: 0.25},
		{client: 'c', weight: 0.25},
	];
	const waiting = [
		{client: 'b', round: 0, step: 0, staleness: 3},
		{client: 'a', round: 0, step: 0, staleness: 0},
		{client: 'c', round: 0, step: 0, staleness: 0},
	];
	// 0.25 / 2 and 0.5: a fifth and four fifths.
	t.deepEqual(planStep({kind: 'buffered', count: 2}, {round: 0, cohort, waiting, finished: 0}), [
		{client: 'b', weight: 0.2},
		{client: 'a', weight: 0.8},
	]);
});

test('buffered steps do not wait for a straggler, and each batch still counts once', async t => {
	const run = (update: NonNullable<ScenarioFile['update']>) =>
		simulate(
			simScenario({
				clients: 4,
				update,
				training: {steps: 6, stepsPerRound: 6},
				faults: [{kind: 'straggle', client: 'c3', factor: 1e6, fromMs: 0}],
			}),
		);
	const [buffered, parallel] = [await run({kind: 'buffered', count: 2}), await run({kind: 'parallel'})];
	const lastOf = ({rows}: typeof buffered, client: string) =>
		rows.findLast(row => row.kind === 'step' && row.client === client)!.timeMs;
	t.is(buffered.summary.status, 'done');
	t.is(buffered.summary.steps, 24);
	t.true(lastOf(buffered, 'c0') < lastOf(parallel, 'c0') / 3, `${lastOf(buffered, 'c0')} ${lastOf(parallel, 'c0')}`);
	t.true(buffered.rows.some(row => row.kind === 'step' && Number(row.serverStaleness) > 0));
});
