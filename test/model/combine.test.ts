import test from 'ava';
import fc from 'fast-check';
import {planAggregation} from '../../actors/policies/aggregation.ts';
import type {ServerOptimizer} from '../../protocols/aggregation.ts';
import type {Aggregation} from '../../protocols/policies.ts';
import {policyRows} from '../../protocols/policy-list.ts';
import {weightedMean} from '../../runtime/model/combine.ts';
import {clipDelta, coordinateMedian, krumScores, multiKrum, trimmedMean} from '../../runtime/model/combine-robust.ts';
import type {AdapterTensors} from '../../runtime/model/lora.ts';
import {initialMoments, serverStep} from '../../runtime/model/server-optimizer.ts';
import {goldenJson, goldenTensors} from '../_helpers/golden.ts';

const golden = await goldenTensors('aggregation/aggregation.f32.safetensors');
const facts = goldenJson<{
	robust: {krum: {scores: number[]; selected: number}; krum_f2: {scores: number[]}};
}>('aggregation/golden.json');

const one = (...values: number[]): AdapterTensors => ({
	'block.0.q.A': {shape: [1, values.length], values: Float32Array.from(values)},
});
const valuesOf = (adapter: AdapterTensors) => [...adapter['block.0.q.A']!.values];
const goldenValues = (name: string) => [...golden.get(name)!.values];

const stacked = goldenValues('robust.in');
const uploads = Array.from({length: 7}, (_, index) => one(...stacked.slice(6 * index, 6 * index + 6)));

const isClose = (found: readonly number[], expected: readonly number[], tolerance = 1e-5) =>
	found.length === expected.length &&
	found.every(
		(value, index) => Math.abs(value - expected[index]!) <= tolerance * Math.max(1, Math.abs(expected[index]!)),
	);

test('FedAvg averages A and B apart with the weights of the samples', t => {
	const matrix = (name: string) => ({
		shape: [1, golden.get(name)!.values.length] as const,
		values: golden.get(name)!.values,
	});
	const adapters = [0, 1, 2].map(index => ({A: matrix(`fedavg.in.${index}.A`), B: matrix(`fedavg.in.${index}.B`)}));
	const mean = weightedMean(adapters, [0.3, 0.5, 0.2]);
	t.true(isClose([...mean.A!.values], goldenValues('fedavg.out.A')));
	t.true(isClose([...mean.B!.values], goldenValues('fedavg.out.B')));
});

test('the median is taken coordinate by coordinate, of an odd and of an even number', t => {
	t.true(isClose(valuesOf(coordinateMedian(uploads)), goldenValues('robust.out.median')));
	t.true(isClose(valuesOf(coordinateMedian(uploads.slice(0, 6))), goldenValues('robust.out.median_even_first6')));
});

test('the trimmed mean drops the smallest and largest of every coordinate', t => {
	for (const trim of [1, 2])
		t.true(isClose(valuesOf(trimmedMean(uploads, trim)), goldenValues(`robust.out.trimmed_mean_${trim}`)));
	t.throws(() => trimmedMean(uploads.slice(0, 2), 1), {message: /leaves none/});
});

test('Krum scores and choices equal the golden ones', t => {
	t.true(isClose(krumScores(uploads, 1), facts.robust.krum.scores));
	t.true(isClose(krumScores(uploads, 2), facts.robust.krum_f2.scores));
	t.deepEqual(valuesOf(multiKrum(uploads, 1, 1)), valuesOf(uploads[facts.robust.krum.selected]!));
	t.true(isClose(valuesOf(multiKrum(uploads, 1, 3)), goldenValues('robust.out.multikrum_mean')));
	t.throws(() => krumScores(uploads.slice(0, 4), 1), {message: /needs 5 adapters/});
});

test('clipping scales the change to the norm and leaves a smaller one alone', t => {
	const global = one(1, 1);
	t.true(isClose(valuesOf(clipDelta(one(4, 5), global, 1)), [1.6, 1.8])); // (3, 4) has norm 5
	t.true(isClose(valuesOf(clipDelta(one(4, 5), global, 6)), [4, 5]));
});

/** Two steps from 0 with mean changes 1 and then 2, as the papers' algorithms give by hand. */
const twoSteps = (optimizer: ServerOptimizer): number[] => {
	let adapter = one(0);
	const moments = initialMoments(optimizer, adapter);
	return [1, 2].map(delta => {
		adapter = serverStep(optimizer, moments, {adapter, mean: one(valuesOf(adapter)[0]! + delta)});
		return valuesOf(adapter)[0]!;
	});
};

test('FedAvgM accumulates changes: m = 0.5 m + Delta, w += 0.1 m', t => {
	t.true(isClose(twoSteps({kind: 'fedavgm', learningRate: 0.1, momentum: 0.5}), [0.1, 0.1 + 0.1 * 2.5]));
});

test('FedAdam and FedYogi follow the algorithm without bias correction', t => {
	const settings = {learningRate: 0.1, beta1: 0.9, beta2: 0.99, tau: 0.1};
	// m: 0.1, 0.29. Adam's v: 0.0199, 0.059701. Yogi's v: 0.02, 0.06.
	const [a1, a2] = [(0.1 * 0.1) / (Math.sqrt(0.0199) + 0.1), (0.1 * 0.29) / (Math.sqrt(0.059701) + 0.1)];
	const [y1, y2] = [(0.1 * 0.1) / (Math.sqrt(0.02) + 0.1), (0.1 * 0.29) / (Math.sqrt(0.06) + 0.1)];
	t.true(isClose(twoSteps({kind: 'fedadam', ...settings}), [a1, a1 + a2]));
	t.true(isClose(twoSteps({kind: 'fedyogi', ...settings}), [y1, y1 + y2]));
});

const everyKind: Aggregation[] = [
	...(['fedavg', 'uniform', 'median', 'ffa-lora', 'flexlora', 'flora', 'fedex-lora'] as const).map(kind => ({kind})),
	{kind: 'fedprox', mu: 0.1},
	{kind: 'fedavgm', learningRate: 1, momentum: 0.9},
	{kind: 'fedadam', learningRate: 1, beta1: 0.9, beta2: 0.99, tau: 0.1},
	{kind: 'fedyogi', learningRate: 1, beta1: 0.9, beta2: 0.99, tau: 0.1},
	{kind: 'trimmed-mean', fraction: 0.4},
	{kind: 'krum', byzantine: 1},
	{kind: 'multi-krum', byzantine: 1, count: 2},
	{kind: 'clipped', normMax: 1},
	{kind: 'dp-fedavg', normMax: 1, noiseMultiplier: 1, delta: 1e-5},
	{kind: 'zero-padding', weights: 'samples'},
	{kind: 'fedasync', mixing: 0.6, staleness: {kind: 'hinge', a: 10, b: 4}},
	{kind: 'fedbuff', count: 3, learningRate: 1},
];

test('no plan of any rule has a negative weight, weights off 1 or a client that is absent or without steps', t => {
	const listed = policyRows().filter(({kind}) => kind === 'aggregation');
	t.deepEqual(
		everyKind.map(({kind}) => kind).toSorted(),
		listed.map(({name}) => name).toSorted() as Aggregation['kind'][],
	);
	const uploadsOf = fc.array(fc.record({samples: fc.nat(1000), stepsDone: fc.nat(2), staleness: fc.nat(30)}), {
		maxLength: 9,
	});
	fc.assert(
		fc.property(fc.constantFrom(...everyKind), uploadsOf, (rule, drawn) => {
			const all = drawn.map((upload, index) => ({...upload, client: `c${index}`, round: index}));
			const {kernel, members} = planAggregation(rule, all);
			const present = all.filter(({stepsDone}) => stepsDone > 0);
			if (members.length === 0) {
				t.true(present.length === 0 || (kernel.kind === 'multi-krum' && present.length < 5));
				return;
			}
			t.deepEqual(
				members.map(({client, round}) => ({client, round})),
				present.map(({client, round}) => ({client, round})),
			);
			t.true(Math.abs(members.reduce((total, {weight}) => total + weight, 0) - 1) < 1e-9);
			t.true(members.every(({weight}) => weight >= 0));
			if (kernel.kind === 'trimmed-mean') t.true(members.length > 2 * kernel.trim);
			if (kernel.kind === 'mix') t.true(kernel.mixing > 0 && kernel.mixing <= 0.6);
			if (kernel.kind === 'add-changes') {
				t.is(kernel.scales.length, members.length);
				t.true(kernel.scales.every((scale, index) => scale === 1 / Math.sqrt(1 + present[index]!.staleness)));
				t.true(
					members.every(({weight}) => Math.abs(weight - 1 / members.length) < 1e-12),
					'the mean is over K, not over the scales',
				);
			}
		}),
	);
});

test('a carried upload counts its samples by the root of its age, renormalised', t => {
	const uploads = [
		{client: 'late', round: 0, samples: 30, stepsDone: 2, staleness: 8},
		{client: 'a', round: 1, samples: 10, stepsDone: 2, staleness: 0},
		{client: 'b', round: 1, samples: 20, stepsDone: 2, staleness: 0},
	];
	// 30 / 3, 10 and 20 of 40.
	const {members} = planAggregation({kind: 'fedavg'}, uploads);
	t.deepEqual(
		members.map(({weight}) => weight),
		[0.25, 0.25, 0.5],
	);
});
