import test from 'ava';
import fc from 'fast-check';
import type {ModelConfig} from '../../runtime/model/config.ts';
import {type Adapter, blocksOf, initAdapter, type LoraSpec} from '../../runtime/model/lora.ts';
import {SplitModel} from '../../runtime/model/split.ts';
import {keyWords, randomStream} from '../../runtime/random.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {adapterDifference, differenceMax, relativeMax} from '../_helpers/golden.ts';
import {randomSource} from '../_helpers/random-model.ts';
import {gpt2, llama} from '../_helpers/small-configs.ts';

const backend = await nativeBackend();
const live = () => backend.kernels.liveTensors();

const configs = [gpt2, llama];

const load = (config: ModelConfig, from: number, to: number) =>
	SplitModel.load(randomSource(config, 3), backend, {
		from,
		to,
		hasEmbedding: from === 0,
		hasHead: to === config.blocks,
	});

const adapterOf = (
	config: ModelConfig,
	seed: number,
	rank: number,
	targets: LoraSpec['targets'] = ['q', 'v'],
): Adapter => {
	const tensors = initAdapter(config, {rank, targets}, {from: 0, to: config.blocks}, seed);
	const random = randomStream(seed, 'b');
	for (const [name, {values}] of Object.entries(tensors))
		if (name.endsWith('.B')) values.set(values.map(() => random.float() - 0.5));
	return {alpha: 2 * seed + 1, isRankStabilised: false, tensors};
};

const batchOf = (lengths: number[], seed: number) => {
	const tokens = lengths.reduce((sum, length) => sum + length, 0);
	const random = randomStream(seed, 'batch');
	return {
		lengths,
		ids: Int32Array.from({length: tokens}, () => random.integer(0, 30)),
		positions: Int32Array.from({length: tokens}, (_, index) => index).filter(index => index % 2 === 0),
		labels: Int32Array.from({length: Math.ceil(tokens / 2)}, () => random.integer(0, 30)),
	};
};

const weighted = <T extends {positions: Int32Array}>(batch: T) => ({
	...batch,
	weights: new Float32Array(batch.positions.length).fill(0.1),
});

test('clients computed together have the activations, losses and gradients of each alone, whatever their ranks and lengths', async t => {
	const lengthsOf = fc.array(fc.integer({min: 1, max: 8}), {minLength: 1, maxLength: 3});
	for (const config of configs) {
		const head = await load(config, 0, 2);
		const whole = await load(config, 0, 3);
		fc.assert(
			fc.property(fc.array(lengthsOf, {minLength: 2, maxLength: 4}), fc.boolean(), (clients, hasDropout) => {
				const owners = clients.map((lengths, client) => ({
					batch: batchOf(lengths, client),
					adapter: adapterOf(config, client, 1 + (client % 3), client === 1 ? ['q', 'o', 'up'] : ['q', 'v', 'down']),
					key: keyWords('client', client),
				}));
				const rows = owners.map(({batch, adapter}) => ({adapter, rows: batch.ids.length}));
				const dropout = {probability: 0.2, groups: owners.map(({key, batch}) => ({key, rows: batch.ids.length}))};
				const joined = {
					lengths: owners.flatMap(({batch}) => batch.lengths),
					ids: Int32Array.from(owners.flatMap(({batch}) => [...batch.ids])),
				};
				const starts = rows.map((_, client) => rows.slice(0, client).reduce((sum, group) => sum + group.rows, 0));
				const targets = weighted({
					positions: Int32Array.from(
						owners.flatMap(({batch}, client) => [...batch.positions].map(position => position + starts[client]!)),
					),
					labels: Int32Array.from(owners.flatMap(({batch}) => [...batch.labels])),
				});
				const together = head.forward(joined, rows, hasDropout ? {dropout} : {});
				const gradient = together.activations.map(value => Math.sin(value));
				const back = head.backward(together.saved, gradient).gradients;
				const step = whole.trainStep(joined, targets, rows, hasDropout ? {dropout} : {});
				let target = 0;
				for (const [client, {batch, adapter, key}] of owners.entries()) {
					const [start, end] = [starts[client]! * config.hidden, (starts[client]! + batch.ids.length) * config.hidden];
					const own = hasDropout ? {dropout: {probability: 0.2, groups: [{key, rows: batch.ids.length}]}} : {};
					const alone = head.forward(batch, adapter, own);
					t.true(differenceMax(together.activations.subarray(start, end), alone.activations) < 1e-4);
					const aloneBack = head.backward(alone.saved, gradient.slice(start, end)).gradients[0]!;
					t.true(adapterDifference(back[client]!, aloneBack, differenceMax) < 1e-3);
					const aloneStep = whole.trainStep(batch, weighted(batch), adapter, own);
					t.true(
						differenceMax(step.targetLosses.subarray(target, target + batch.positions.length), aloneStep.targetLosses) <
							1e-4,
					);
					t.true(adapterDifference(step.gradients[client]!, aloneStep.gradients[0]!, differenceMax) < 1e-3);
					target += batch.positions.length;
				}
			}),
			{numRuns: 15, includeErrorInReport: true},
		);
		head.dispose();
		whole.dispose();
	}
});

test('with dropout, a block moved across the cut keeps its mask: split equals whole', async t => {
	const batch = batchOf([5, 3], 1);
	const dropout = {
		probability: 0.3,
		groups: [
			{key: keyWords('a'), rows: 5},
			{key: keyWords('b'), rows: 3},
		],
	};
	for (const config of configs) {
		const adapter = adapterOf(config, 2, 2, ['q', 'v', 'o', 'up', 'down']);
		const whole = await load(config, 0, 3);
		const expected = whole.trainStep(batch, weighted(batch), adapter, {dropout});
		for (let cut = 0; cut <= 3; cut++) {
			const head = await SplitModel.load(randomSource(config, 3), backend, {
				from: 0,
				to: cut,
				hasEmbedding: true,
				hasHead: false,
			});
			const tail = await SplitModel.load(randomSource(config, 3), backend, {
				from: cut,
				to: 3,
				hasEmbedding: false,
				hasHead: true,
			});
			const {activations, saved} = head.forward(batch, adapter, {dropout});
			const step = tail.trainStep({lengths: batch.lengths, activations}, weighted(batch), adapter, {
				dropout,
				wantsInputGradient: true,
			});
			const back = head.backward(saved, step.inputGradient!);
			t.true(differenceMax(step.targetLosses, expected.targetLosses) < 1e-5);
			t.true(
				adapterDifference({...back.gradients[0]!, ...step.gradients[0]!}, expected.gradients[0]!) < 1e-4,
				`cut ${cut}`,
			);
		}
	}
});

test('three parts, as in the U shape, equal the whole', async t => {
	const batch = batchOf([4, 6], 4);
	for (const config of configs) {
		const adapter = adapterOf(config, 1, 2);
		const whole = (await load(config, 0, 3)).trainStep(batch, weighted(batch), adapter);
		const [head, middle, tail] = [await load(config, 0, 1), await load(config, 1, 2), await load(config, 2, 3)];
		const up = head.forward(batch, adapter);
		const across = middle.forward({lengths: batch.lengths, activations: up.activations}, adapter);
		const step = tail.trainStep({lengths: batch.lengths, activations: across.activations}, weighted(batch), adapter, {
			wantsInputGradient: true,
		});
		const down = middle.backward(across.saved, step.inputGradient!, {wantsInputGradient: true});
		const last = head.backward(up.saved, down.inputGradient!);
		const gradients = {...last.gradients[0]!, ...down.gradients[0]!, ...step.gradients[0]!};
		t.true(adapterDifference(gradients, whole.gradients[0]!) < 1e-4);
	}
});

test("an adapter changed in place after a forward does not change that forward's backward", async t => {
	const batch = batchOf([8], 1);
	const head = await load(gpt2, 0, 2);
	const adapter = adapterOf(gpt2, 1, 2);
	const gradient = new Float32Array(8 * gpt2.hidden).fill(0.3);
	const expected = head.backward(head.forward(batch, adapter).saved, gradient).gradients[0]!;
	const {saved} = head.forward(batch, adapter);
	for (const {values} of Object.values(adapter.tensors)) values.fill(9);
	t.deepEqual(head.backward(saved, gradient).gradients[0], expected);
});

test('passes leave no tensor, whether they end in backward, release or an error', async t => {
	const head = await load(llama, 0, 2);
	const tail = await load(llama, 2, 3);
	const adapter = adapterOf(llama, 1, 2);
	const before = live();
	for (const lengths of [[8, 8], [8, 3, 1], [1]]) {
		const batch = batchOf(lengths, 1);
		const {activations, saved} = head.forward(batch, adapter);
		const between = {lengths, activations};
		tail.trainStep(between, weighted(batch), adapter);
		tail.evaluate(between, batch, adapter);
		tail.logits(between, batch.positions, adapter);
		head.infer(batch, adapter);
		head.release(saved);
		t.is(live(), before);
		head.backward(head.forward(batch, adapter).saved, activations);
		t.is(live(), before);
		t.throws(() => tail.trainStep(between, {...weighted(batch), labels: batch.labels.map(() => 31)}, adapter), {
			code: 'data-invalid',
		});
		const broken = {
			...adapter,
			tensors: {...adapter.tensors, 'block.2.q.B': {shape: [3, 3] as const, values: new Float32Array(9)}},
		};
		t.throws(() => tail.trainStep(between, weighted(batch), broken), {message: /block\.2\.q/});
		t.is(live(), before);
	}
});

test('a batch without targets has zero gradients of every shape', async t => {
	const tail = await load(gpt2, 2, 3);
	const adapter = adapterOf(gpt2, 1, 2);
	const none = {positions: new Int32Array(0), labels: new Int32Array(0), weights: new Float32Array(0)};
	const batch = {lengths: [2], activations: new Float32Array(24).fill(1)};
	const step = tail.trainStep(batch, none, adapter, {wantsInputGradient: true});
	t.deepEqual(step.inputGradient, new Float32Array(24));
	t.deepEqual(Object.keys(step.gradients[0]!), Object.keys(blocksOf(adapter.tensors, {from: 2, to: 3})));
	t.is(tail.evaluate(batch, none, adapter).length, 0);
});

test('activations and losses without keeping anything equal those of training', async t => {
	const batch = batchOf([4, 7], 6);
	const adapter = adapterOf(llama, 1, 2);
	const [head, tail] = [await load(llama, 0, 2), await load(llama, 2, 3)];
	const {activations, saved} = head.forward(batch, adapter);
	head.release(saved);
	t.deepEqual(head.infer(batch, adapter), activations);
	const between = {lengths: batch.lengths, activations};
	const step = tail.trainStep(between, {...weighted(batch), labelSmoothing: 0.1}, adapter);
	t.true(relativeMax(tail.evaluate(between, {...batch, labelSmoothing: 0.1}, adapter), step.targetLosses) < 1e-6);
});

test('what cannot be computed is refused with the reason', async t => {
	const head = await load(gpt2, 0, 1);
	const adapter = adapterOf(gpt2, 1, 2);
	const refused = (batch: Parameters<SplitModel['forward']>[0], message: RegExp) =>
		t.throws(() => head.forward(batch, adapter), {code: 'data-invalid', message});
	refused({lengths: [9], ids: new Int32Array(9)}, /9 tokens is longer than the model's 8/);
	refused({lengths: [2], ids: Int32Array.of(0, 31)}, /id 31 is outside the vocabulary of 31/);
	refused({lengths: [2], ids: Int32Array.of(-1, 0)}, /id -1/);
	refused({lengths: [3], ids: new Int32Array(2)}, /expected 3/);
	refused({lengths: [0, 2], ids: new Int32Array(2)}, /row lengths/);
	refused({lengths: [], ids: new Int32Array(0)}, /row lengths/);
	refused({lengths: [2], activations: new Float32Array(24)}, /ids/);
	await t.throwsAsync(load(gpt2, 2, 4), {message: /\[2, 4\)/});
	t.throws(() => head.logits({lengths: [1], ids: new Int32Array(1)}, Int32Array.of(0), adapter), {
		message: /no LM head/,
	});
});
