import test from 'ava';
import type {Scenario, ScenarioFile} from '../../protocols/scenario.ts';
import {createMemoryBroker} from '../../runtime/bus/memory.ts';
import {weightedMean} from '../../runtime/model/combine.ts';
import {type AdapterTensors, blocksOf, cloneAdapter, initAdapter} from '../../runtime/model/lora.ts';
import {initialOptimizerState, optimizerStep} from '../../runtime/model/optimizer.ts';
import {SplitModel} from '../../runtime/model/split.ts';
import {clientIds} from '../../runtime/run/plan.ts';
import {openWeights} from '../../runtime/weights/load.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {runDisturbed} from '../_helpers/disturbed.ts';
import {
	adapterDifference,
	differenceMax,
	goldenAdapter,
	goldenJson,
	goldenPath,
	goldenTensors,
	weightedSum,
} from '../_helpers/golden.ts';
import {
	lossesOf,
	plainAdapter,
	randomBatch,
	randomClients,
	tinyBench,
	tinyScenario,
	wholeAdapter,
} from '../_helpers/tiny-run.ts';
import {trainSplitParts} from '../_helpers/train-split.ts';

const backend = await nativeBackend();
const bench = await tinyBench(backend, 'tiny-gpt2');
const {blocks} = bench.model.config;
const whole = await SplitModel.load(await openWeights(goldenPath('tiny-gpt2/model')), backend, {
	from: 0,
	to: blocks,
	hasEmbedding: true,
	hasHead: true,
});

const mixed = (cut: number[], changes: Partial<ScenarioFile> = {}): Scenario =>
	tinyScenario({cut, evaluation: {everyRounds: 0}, ...changes});

test('a list of equal cuts trains bit for bit as that cut does', async t => {
	const [one, three] = await Promise.all([2, [2, 2, 2]].map(cut => bench.run(tinyScenario({cut}))));
	const [a, b] = [one!, three!];
	t.deepEqual(lossesOf(b.rows, tinyScenario()), lossesOf(a.rows, tinyScenario()));
	t.deepEqual(wholeAdapter(b), wholeAdapter(a));
});

for (const cut of [
	[1, 2, 3],
	[4, 0, 2],
]) {
	// With SGD and an average after every step all copies of a block take one step on L = sum of p_i L_i: that is CenLoRA.
	test(`twelve steps of three clients of cuts ${cut} that average each time follow PyTorch's CenLoRA`, async t => {
		const {clients, initial} = await trainSplitParts();
		const training = {steps: 12, stepsPerRound: 1, optimizer: {kind: 'sgd'}, learningRate: 0.5} as const;
		const scenario = mixed(cut, {training});
		const run = await bench.run(scenario, {clients, initial});
		const golden = await goldenTensors('train-split/cenlora_sgd.f32.safetensors');
		const end = goldenAdapter(golden, golden.has('end.h.0.attn.q.lora_A') ? 'end.' : 'step12.');
		type Runs = {runs: Record<string, {f64: {losses: number[][]}}>};
		const {losses} = goldenJson<Runs>('train-split/golden.json').runs.cenlora_sgd!.f64;
		const loss = differenceMax(lossesOf(run.rows, scenario).flat(), losses.flat());
		const adapter = adapterDifference(wholeAdapter(run), end, differenceMax);
		t.log({loss, adapter});
		t.true(loss < 2e-5, `losses differ by ${loss}`);
		t.true(adapter < 5e-5, `adapters differ by ${adapter}`);
		const shared = blocksOf(plainAdapter(run.adapters!.server), {from: Math.min(...cut), to: Math.max(...cut)});
		t.deepEqual(shared, blocksOf(plainAdapter(run.adapters!.client), {from: Math.min(...cut), to: Math.max(...cut)}));
	});
}

const adamw = {kind: 'adamw'} as const;

/** Some parameters with their optimizer. */
class Owner {
	readonly tensors: AdapterTensors;
	#state = initialOptimizerState();

	constructor(tensors: AdapterTensors) {
		this.tensors = cloneAdapter(tensors);
	}

	update(gradients: AdapterTensors, lr: number): void {
		this.#state = optimizerStep(adamw, this.#state, {parameters: this.tensors, gradients, lr});
	}

	set(tensors: AdapterTensors): void {
		for (const name of Object.keys(this.tensors)) this.tensors[name]!.values.set(tensors[name]!.values);
	}
}

/** Mixed cuts with whole models alone: a client's model is its own blocks and the main server's above them. */
function byHand(scenario: Scenario) {
	const {lora, training, seed} = scenario;
	const cuts = scenario.cut as number[];
	const data = randomClients(scenario, bench.model.config.vocabulary);
	const ids = clientIds(scenario);
	const samples = ids.map(id => data[id]!.samples);
	const p = samples.map(count => count / samples.reduce((sum, one) => sum + one, 0));
	const init = initAdapter(bench.model.config, lora, {from: 0, to: blocks}, seed);
	const owners = ids.map((_, index) => new Owner(blocksOf(init, {from: 0, to: cuts[index]!})));
	// The copy of a block is trained by the clients that lack it: an owner for each block.
	const copies = Array.from({length: blocks}, (_, block) => new Owner(blocksOf(init, {from: block, to: block + 1})));
	const losses: number[][] = [];
	for (let step = 0; step < training.steps; step++) {
		const steps = owners.map((owner, index) => {
			const batch = data[ids[index]!]!.batchAt(step);
			const {targetPositions: positions, labels} = batch;
			const weights = new Float32Array(labels.length).fill(1 / labels.length);
			const tail = Object.assign({}, ...copies.map(copy => copy.tensors)) as AdapterTensors;
			const tensors = {...blocksOf(tail, {from: cuts[index]!, to: blocks}), ...owner.tensors};
			const {targetLosses, gradients} = whole.trainStep(
				batch,
				{positions, labels, weights},
				{alpha: lora.alpha, isRankStabilised: false, tensors},
			);
			return {loss: weightedSum(targetLosses, weights), gradients: gradients[0]!};
		});
		losses.push(steps.map(({loss}) => loss));
		for (const [block, copy] of copies.entries()) {
			const lacking = [...cuts.keys()].filter(index => cuts[index]! <= block);
			if (lacking.length === 0) continue;
			const share = lacking.reduce((sum, index) => sum + p[index]!, 0);
			// Of the blocks above all cuts the main server applies p_i itself; among those it shares the weights are made whole.
			const weights = lacking.map(index => p[index]! / share);
			const own = lacking.map(index => blocksOf(steps[index]!.gradients, {from: block, to: block + 1}));
			copy.update(weightedMean(own, weights), training.learningRate);
		}
		for (const [index, owner] of owners.entries())
			owner.update(blocksOf(steps[index]!.gradients, {from: 0, to: cuts[index]!}), training.learningRate);
		if ((step + 1) % training.stepsPerRound > 0) continue;
		for (const [block, copy] of copies.entries()) {
			const place = {from: block, to: block + 1};
			if (!cuts.some(cut => cut > block)) continue;
			const parts = owners.map((owner, index) => blocksOf(cuts[index]! > block ? owner.tensors : copy.tensors, place));
			const mean = weightedMean(parts, p);
			copy.set(mean);
			for (const [index, owner] of owners.entries()) if (cuts[index]! > block) owner.set({...owner.tensors, ...mean});
		}
	}
	const longest = owners[cuts.indexOf(Math.max(...cuts))]!.tensors;
	const tail = Object.assign({}, ...copies.map(copy => copy.tensors)) as AdapterTensors;
	return {losses, adapter: {...tail, ...longest}};
}

test('eight steps of AdamW in rounds of four equal a calculation with whole models', async t => {
	const scenario = mixed([3, 1, 2], {training: {steps: 8, stepsPerRound: 4}});
	const [run, reference] = [await bench.run(scenario), byHand(scenario)];
	const loss = differenceMax(lossesOf(run.rows, scenario).flat(), reference.losses.flat());
	const adapter = adapterDifference(wholeAdapter(run), reference.adapter, differenceMax);
	t.log({loss, adapter});
	t.true(loss < 1e-5, `losses differ by ${loss}`);
	t.true(adapter < 2e-5, `adapters differ by ${adapter}`);
});

test.serial('no tensor is left behind by steps of unlike cuts, whoever of them a step is over', async t => {
	const loaded = new Set<number>();
	for (const update of [{kind: 'parallel'}, {kind: 'sequential'}, {kind: 'buffered', count: 2}] as const) {
		const before = backend.kernels.liveTensors();
		const training = {steps: 4, stepsPerRound: 2, accumulation: 2} as const;
		const run = await bench.run(mixed([1, 3], {update, training}));
		t.is(run.summary.status, 'done', update.kind);
		t.is(run.rows.filter(row => row.kind === 'step').length, 12);
		loaded.add(backend.kernels.liveTensors() - before);
	}
	t.deepEqual([...loaded], [0]);
});

test('the measured loss of a pair of adapters is that of the exported whole', async t => {
	const validation = [randomBatch(bench.model.config.vocabulary, 'validation', 0)];
	const scenario = mixed([1, 3, 2], {evaluation: {everyRounds: 1}, data: {kind: 'restaurants', validationRows: 2}});
	const run = await bench.run(scenario, {validation});
	const {lengths, ids, targetPositions: positions, labels} = validation[0]!;
	const tensors = wholeAdapter(run);
	const losses = whole.evaluate({ids, lengths}, {positions, labels}, {alpha: 16, isRankStabilised: false, tensors});
	const mean = losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
	t.is(run.summary.evaluations.length, 3);
	t.true(Math.abs(mean - run.summary.evaluations.at(-1)!.loss) < 1e-6);
});

test('with frames lost, doubled and late every step and every average is the same', async t => {
	const scenario = mixed([1, 2, 3], {timing: {answerTimeoutMs: 60, heartbeatMs: 25, leaseMs: 60_000}});
	const plain = await bench.run(scenario);
	for (const seed of [1, 2]) {
		const memory = createMemoryBroker();
		const disturbance = {seed, loss: 0.1, twice: 0.3, late: 0.2};
		const {result, check} = await runDisturbed(bench, scenario, disturbance, () => Promise.resolve(memory.connect()));
		t.deepEqual(check.violations, []);
		t.is(check.counts['steps applied'], 12);
		t.deepEqual(lossesOf(result.rows, scenario), lossesOf(plain.rows, scenario));
		t.deepEqual(wholeAdapter(result), wholeAdapter(plain));
	}
});
