/**
Noise for privacy: what it costs by the accountant, against closed forms and numbers of another implementation, and what it does to
activations and adapters.
*/
import test from 'ava';
import {checkScenario} from '../../protocols/check-scenario.ts';
import type {ScenarioFile} from '../../protocols/scenario.ts';
import {beforeClipping, noised} from '../../runtime/compute/activation-noise.ts';
import {noisedMean} from '../../runtime/model/combine-private.ts';
import type {AdapterTensors} from '../../runtime/model/lora.ts';
import {randomStream} from '../../runtime/random.ts';
import {privacyOf} from '../../runtime/run/privacy.ts';
import {epsilonOf, gaussianRenyi, renyiOrders, sampledRenyi} from '../../runtime/run/renyi.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {lossesOf, plainAdapter, tinyBench, tinyScenario} from '../_helpers/tiny-run.ts';

const bench = await tinyBench(await nativeBackend(), 'tiny-llama');

const near = (ours: number, theirs: number) => Math.abs(ours / theirs - 1) < 1e-9;
const spent = (releases: number, delta: number, price: (alpha: number) => number) =>
	epsilonOf(
		renyiOrders.map(alpha => releases * price(alpha)),
		delta,
	);

// By dp-accounting 0.6 (pip), RdpAccountant over the same orders: GaussianDpEvent under ADD_OR_REMOVE_ONE.
const unsampled = [
	{sigma: 1, releases: 1, delta: 1e-5, epsilon: 4.752728336819822, order: 5},
	{sigma: 1.1, releases: 10, delta: 1e-5, epsilon: 17.198385694918926, order: 3},
	{sigma: 4, releases: 100, delta: 1e-6, epsilon: 15.32798402653992, order: 3},
	{sigma: 8, releases: 1000, delta: 1e-3, epsilon: 21.146460917862246, order: 2},
	{sigma: 0.5, releases: 3, delta: 1e-2, epsilon: 15.218875824868201, order: 2},
];

test('without sampling epsilon is that of another accountant, and the price is alpha / (2 sigma^2)', t => {
	for (const {sigma, releases, delta, epsilon, order} of unsampled) {
		const ours = spent(releases, delta, alpha => gaussianRenyi(alpha, sigma));
		t.true(near(ours.epsilon, epsilon), `${ours.epsilon} ${epsilon}`);
		t.is(ours.order, order);
	}
	t.is(gaussianRenyi(8, 2), 1);
	t.is(spent(0, 0.5, () => 1).epsilon, 0);
});

// By the same, SampledWithoutReplacementDpEvent under REPLACE_ONE. It holds a sharper form of the bound (Theorem 27 of the same paper)
// from order 4 on, and takes no notice that sampling never costs more than none.
const sampled = [
	{of: 100, chosen: 10, sigma: 1, releases: 20, delta: 1e-3, epsilon: 4.349518136109573, isExact: true},
	{of: 10, chosen: 3, sigma: 1.5, releases: 30, delta: 1e-2, epsilon: 8.725111685300895, isExact: true},
	{of: 10_000, chosen: 100, sigma: 0.8, releases: 500, delta: 1e-6, epsilon: 4.580234944813359, isExact: true},
	{of: 1000, chosen: 50, sigma: 2, releases: 100, delta: 1e-5, epsilon: 2.4925368299682393, isExact: false},
];

test('with sampling epsilon is that of another accountant, or up to a tenth above where that has a sharper bound', t => {
	for (const {of, chosen, sigma, releases, delta, epsilon, isExact} of sampled) {
		const ours = spent(releases, delta, alpha => sampledRenyi(alpha, sigma, chosen / of)).epsilon;
		if (isExact) t.true(near(ours, epsilon), `${ours} ${epsilon}`);
		else t.true(ours > epsilon && ours < 1.1 * epsilon, `${ours} ${epsilon}`);
	}
	const theirs = [0.052939293727797626, 0.09252058745303618, 1.478554782562137, 13.645497554992307];
	for (const [index, alpha] of [2, 3, 8, 32].entries()) t.true(near(sampledRenyi(alpha, 1, 0.1), theirs[index]!));
	for (const alpha of renyiOrders)
		for (const share of [0.01, 0.3, 0.9, 1]) t.true(sampledRenyi(alpha, 3, share) <= gaussianRenyi(alpha, 3));
});

test('the summary counts the rounds that gave an adapter out, each with the share that was chosen', t => {
	const aggregation = {kind: 'dp-fedavg', normMax: 2, noiseMultiplier: 1.1, delta: 1e-5} as const;
	const round = (changes: object) =>
		({kind: 'round', timeMs: 0, actor: 'fed', uploads: 3, cohort: 3, roster: 10, ...changes}) as const;
	const rows = [...Array.from({length: 10}, () => round({})), round({isVoid: true}), round({uploads: 0})];
	const all = privacyOf({aggregation, selection: {kind: 'all'}}, rows)!.adapters!;
	t.like(all, {aggregations: 10, adjacency: 'add-or-remove', delta: 1e-5, normMax: 2, noiseMultiplier: 1.1, order: 3});
	t.true(near(all.epsilon, 17.198385694918926));
	const drawn = privacyOf(
		{aggregation: {...aggregation, noiseMultiplier: 3, delta: 1e-2}, selection: {kind: 'random', count: 3}},
		[...rows, ...rows, ...rows],
	)!.adapters!;
	// One client for another is two changes: noise of 3 norms is 1.5 of them.
	t.like(drawn, {aggregations: 30, adjacency: 'replace'});
	t.true(near(drawn.epsilon, 8.725111685300895));
	t.is(privacyOf({aggregation: {kind: 'fedavg'}, selection: {kind: 'all'}}, rows), undefined);
	const activations = {normMax: 1, sigma: 0.5};
	t.deepEqual(privacyOf({aggregation: {kind: 'fedavg'}, selection: {kind: 'all'}, privacy: {activations}}, rows), {
		activations,
	});
});

const adapterOf = (...values: number[]): AdapterTensors => ({
	'block.0.q.A': {shape: [1, values.length], values: Float32Array.from(values)},
});

test('a noised mean is clipped changes over a fixed divisor, and its noise has the deviation that it says', t => {
	const global = adapterOf(1, 1, 1);
	// Changes (3, 4, 0) of norm 5 and (0, 0, 0.5).
	const uploads = [adapterOf(4, 5, 1), adapterOf(1, 1, 1.5)];
	const plain = noisedMean(uploads, global, {normMax: 2.5, noiseMultiplier: 1e-12, count: 4}, randomStream(1));
	for (const [place, value] of [1 + 1.5 / 4, 1 + 2 / 4, 1 + 0.5 / 4].entries())
		t.true(Math.abs(plain['block.0.q.A']!.values[place]! - value) < 1e-6);
	const many = adapterOf(...new Float32Array(20_000));
	const noise = noisedMean([], many, {normMax: 3, noiseMultiplier: 0.7, count: 5}, randomStream(2))['block.0.q.A']!
		.values;
	const mean = noise.reduce((sum, value) => sum + value, 0) / noise.length;
	const deviation = Math.sqrt(noise.reduce((sum, value) => sum + (value - mean) ** 2, 0) / noise.length);
	t.true(Math.abs(mean) < 0.015 && Math.abs(deviation / ((0.7 * 3) / 5) - 1) < 0.02, `${mean} ${deviation}`);
});

test('rows are clipped, noise has its deviation, and gradients go back through the clipping as finite differences say', t => {
	const hidden = 4;
	const rows = Float32Array.from([3, 0, 4, 0, 0.1, 0.2, 0, 0]);
	const settings = {normMax: 1, sigma: 1e-12};
	const {rows: sent, clipped} = noised(rows, hidden, settings, randomStream(1));
	t.deepEqual([...clipped.keys()], [0]);
	for (const [i, value] of [0.6, 0, 0.8, 0, 0.1, 0.2, 0, 0].entries()) t.true(Math.abs(sent[i]! - value) < 1e-6);
	const gradient = Float32Array.from([1, -2, 0.5, 3, 1, 1, 1, 1]);
	const back = beforeClipping(gradient, hidden, clipped);
	const loss = (values: Float32Array) =>
		noised(values, hidden, settings, randomStream(1)).rows.reduce((sum, value, i) => sum + value * gradient[i]!, 0);
	for (let i = 0; i < rows.length; i++) {
		const moved = (by: number) => rows.map((value, at) => (at === i ? value + by : value));
		t.true(Math.abs((loss(moved(1e-2)) - loss(moved(-1e-2))) / 2e-2 - back[i]!) < 1e-3, `${i}`);
	}
	const zeros = new Float32Array(40_000);
	const noise = noised(zeros, hidden, {normMax: 2, sigma: 0.5}, randomStream(3)).rows;
	t.true(Math.abs(Math.sqrt(noise.reduce((sum, value) => sum + value ** 2, 0) / noise.length) - 1) < 0.02);
});

test('a run with noise repeats by its seed, differs from one without, and tells its epsilon', async t => {
	const noisy: Partial<ScenarioFile> = {
		aggregation: {kind: 'dp-fedavg', normMax: 0.1, noiseMultiplier: 1},
		privacy: {activations: {normMax: 5, sigma: 0.05}},
	};
	const scenario = tinyScenario(noisy);
	const [first, second, plain] = [
		await bench.run(scenario),
		await bench.run(scenario),
		await bench.run(tinyScenario({aggregation: {kind: 'uniform'}})),
	];
	t.is(first.summary.status, 'done', first.summary.reason);
	const adapters = [first, second, plain].map(({adapters}) => plainAdapter(adapters!.client));
	t.deepEqual(adapters[0], adapters[1]);
	t.notDeepEqual(adapters[0], adapters[2]);
	t.deepEqual(lossesOf(first.rows, scenario), lossesOf(second.rows, scenario));
	t.notDeepEqual(lossesOf(first.rows, scenario)[0], lossesOf(plain.rows, scenario)[0]);
	const {privacy} = first.summary;
	t.like(privacy!.adapters, {aggregations: 2, adjacency: 'add-or-remove'});
	t.true(near(privacy!.adapters!.epsilon, spent(2, 1e-5, alpha => gaussianRenyi(alpha, 1)).epsilon));
	t.deepEqual(privacy!.activations, {normMax: 5, sigma: 0.05});
	t.is(plain.summary.privacy, undefined);
	// Another key is other noise.
	const keyed = await bench.run(scenario, {noiseKey: 'another'});
	t.notDeepEqual(plainAdapter(keyed.adapters!.client), adapters[0]);
});

test('what would make the noise mean less than it says is refused', t => {
	const file = (changes: object) => ({
		name: 'x',
		data: {kind: 'restaurants'},
		aggregation: {kind: 'dp-fedavg'},
		...changes,
	});
	t.throws(() => checkScenario(file({selection: {kind: 'oort', count: 2}})), {
		message: /selection\.kind.* chooses by the losses/,
	});
	t.throws(() => checkScenario(file({closing: {kind: 'quorum', count: 2, late: 'carry'}})), {
		message: /closing\.late.* count twice/,
	});
	t.throws(
		() => checkScenario({name: 'x', data: {kind: 'restaurants'}, mainServer: false, privacy: {activations: {}}}),
		{
			message: /privacy\.activations.* no activations leave a client; remove it/,
		},
	);
	t.notThrows(() => checkScenario(file({selection: {kind: 'random', count: 2}})));
});
