import test from 'ava';
import fc from 'fast-check';
import type {Batch} from '../../runtime/model/batch.ts';
import type {ModelConfig} from '../../runtime/model/config.ts';
import {dropoutMask} from '../../runtime/model/dropout.ts';
import {
	type Adapter,
	type AdapterTensors,
	adapterNames,
	initAdapter,
	type Projection,
	placeOf,
	scalingOf,
	zerosLike,
} from '../../runtime/model/lora.ts';
import {SplitModel} from '../../runtime/model/split.ts';
import {keyWords, type RandomStream, randomStream} from '../../runtime/random.ts';
import {resolveBackend} from '../../runtime/setup/resolve.ts';
import {loadNativeTensorflow} from '../../runtime/tensor/binding.ts';
import type {DeviceTensor} from '../../runtime/tensor/kernels.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {adapterDifference, differenceMax, relativeMax, weightedSum} from '../_helpers/golden.ts';
import {randomSource, weightShapes} from '../_helpers/random-model.ts';
import {type Matrix, type TapeInput, tapeBlocks, tapeLoss} from '../_helpers/tape-model.ts';

const backend = await nativeBackend();
const tf = loadNativeTensorflow(resolveBackend('tensorflow').bindingPath);

const arbitraryCase = fc.record({
	family: fc.constantFrom('gpt2' as const, 'llama' as const),
	seed: fc.integer(),
	blocks: fc.integer({min: 1, max: 3}),
	kvHeads: fc.integer({min: 1, max: 2}),
	group: fc.integer({min: 1, max: 3}),
	half: fc.integer({min: 2, max: 4}),
	lengths: fc.array(fc.integer({min: 1, max: 9}), {minLength: 1, maxLength: 4}),
	isHeadTied: fc.boolean(),
	hasQkvBias: fc.boolean(),
	isRankStabilised: fc.boolean(),
	hasDropout: fc.boolean(),
	rank: fc.integer({min: 1, max: 4}),
	projections: fc.uniqueArray(fc.constantFrom<Projection>('q', 'k', 'v', 'o', 'gate', 'up', 'down', 'qkv'), {
		minLength: 1,
	}),
	cutFraction: fc.double({min: 0, max: 1, noNaN: true}),
	smoothing: fc.constantFrom(0, 0.1),
});
type Case = typeof arbitraryCase extends fc.Arbitrary<infer T> ? T : never;

const configOf = ({family, blocks, kvHeads, group, half, isHeadTied, hasQkvBias}: Case): ModelConfig => {
	const isGpt2 = family === 'gpt2';
	const heads = isGpt2 ? kvHeads : kvHeads * group;
	return {
		family,
		blocks,
		heads,
		kvHeads,
		headDim: 2 * half,
		hidden: isGpt2 ? heads * 2 * half : 6,
		ffn: 10,
		vocabulary: 23,
		context: 16,
		normEps: 1e-5,
		ropeTheta: isGpt2 ? 0 : 100,
		isHeadTied,
		hasQkvBias: isGpt2 || hasQkvBias,
	};
};

/** Random values in both matrices, so that every gradient is far from zero. */
function filledAdapter(config: ModelConfig, {rank, isRankStabilised, seed}: Case, targets: Projection[]): Adapter {
	const tensors = initAdapter(config, {rank, targets}, {from: 0, to: config.blocks}, seed);
	const random = randomStream(seed, 'b');
	for (const [name, {values}] of Object.entries(tensors)) {
		if (name.endsWith('.B')) values.set(values.map(() => random.float() - 0.5));
	}
	return {alpha: 3, isRankStabilised, tensors};
}

function targetsOf(tokens: number, vocabulary: number, random: RandomStream) {
	const count = random.integer(1, tokens);
	const positions = random.shuffle(Array.from({length: tokens}, (_, index) => index)).slice(0, count);
	return {
		positions: Int32Array.from(positions),
		labels: Int32Array.from(positions, () => random.integer(0, vocabulary - 1)),
		weights: Float32Array.from(positions, () => random.float()),
	};
}

test('loss and gradients at any cut equal those of a plain model on the tape, for random shapes', async t => {
	await fc.assert(
		fc.asyncProperty(arbitraryCase, async chosen => {
			const config = configOf(chosen);
			const targets = chosen.projections.filter(projection =>
				config.family === 'gpt2' ? projection !== 'gate' : projection !== 'qkv',
			);
			const adapter = filledAdapter(config, chosen, targets.length > 0 ? targets : ['v']);
			const live = backend.kernels.liveTensors();
			const ours = await splitGradients(config, chosen, adapter);
			t.is(backend.kernels.liveTensors(), live, 'tensors are left');
			const theirs = await tapeGradients(config, chosen, adapter);
			const loss = Math.abs(ours.loss - theirs.loss) / theirs.loss;
			t.true(loss < 1e-5, `losses ${ours.loss} and ${theirs.loss}`);
			const atCut = relativeMax(ours.inputGradient, theirs.inputGradient);
			t.true(atCut < 1e-4, `gradients at the cut differ by ${atCut}`);
			const error = adapterDifference(ours.gradients, theirs.gradients, differenceMax) / largest(theirs.gradients);
			t.true(error < 1e-4, `adapter gradients differ by ${error}`);
		}),
		{numRuns: process.env.CUTLAYER_TESTS === 'long' ? 500 : 40, includeErrorInReport: true},
	);
});

/** Gradients may be zero but for rounding: a row of one token has none at its queries. */
const largest = (tensors: AdapterTensors) =>
	Math.max(0.01, adapterDifference(tensors, zerosLike(tensors), differenceMax));

const cutOf = ({cutFraction, blocks}: Case) => Math.round(cutFraction * blocks);
const tokensOf = ({lengths}: Case) => lengths.reduce((sum, length) => sum + length, 0);
const dropoutOf = (chosen: Case) => {
	const groups = [{key: keyWords(chosen.seed, 'dropout'), rows: tokensOf(chosen)}];
	return chosen.hasDropout ? {probability: 0.3, groups} : undefined;
};

async function splitGradients(config: ModelConfig, chosen: Case, adapter: Adapter) {
	const source = randomSource(config, chosen.seed);
	const cut = cutOf(chosen);
	const head = await SplitModel.load(source, backend, {from: 0, to: cut, hasEmbedding: true, hasHead: false});
	const tail = await SplitModel.load(source, backend, {
		from: cut,
		to: config.blocks,
		hasEmbedding: false,
		hasHead: true,
	});
	const {lengths} = chosen;
	const targets = targetsOf(tokensOf(chosen), config.vocabulary, randomStream(chosen.seed, 'targets'));
	const dropout = dropoutOf(chosen);
	const {activations, saved} = head.forward(batchOf(config, chosen), adapter, {dropout});
	const loss = {...targets, labelSmoothing: chosen.smoothing};
	const step = tail.trainStep({lengths, activations}, loss, adapter, {wantsInputGradient: true, dropout});
	const back = head.backward(saved, step.inputGradient!);
	head.dispose();
	tail.dispose();
	return {
		loss: weightedSum(step.targetLosses, targets.weights),
		inputGradient: step.inputGradient!,
		gradients: {...back.gradients[0], ...step.gradients[0]},
	};
}

function batchOf(config: ModelConfig, chosen: Case): Batch {
	const random = randomStream(chosen.seed, 'ids');
	return {
		lengths: chosen.lengths,
		ids: Int32Array.from({length: tokensOf(chosen)}, () => random.integer(0, config.vocabulary - 1)),
	};
}

async function tapeGradients(config: ModelConfig, chosen: Case, {tensors, ...scale}: Adapter) {
	const source = randomSource(config, chosen.seed);
	const weights = new Map<string, DeviceTensor>();
	for (const [name, shape] of weightShapes(config))
		weights.set(name, tf.tensor((await source.read(name)).values, shape));
	const cut = cutOf(chosen);
	const targets = targetsOf(tokensOf(chosen), config.vocabulary, randomStream(chosen.seed, 'targets'));
	const names = Object.keys(tensors);
	const input = {tf, config, weights, scaling: scalingOf(scale, chosen.rank), masks: masksOf(config, chosen, tensors)};
	const outcome = backend.kernels.scope(() => {
		const embedded = embed(config, weights, batchOf(config, chosen));
		const cutActivations = tapeBlocks({...input, adapter: asTensors(tensors)}, embedded, chosen.lengths, 0, cut);
		const lossOf = (through: TapeInput, activations: Matrix, from: number) =>
			tapeLoss(through, tapeBlocks(through, activations, chosen.lengths, from, config.blocks), {
				positions: [...targets.positions],
				labels: [...targets.labels],
				targetWeights: [...targets.weights],
				smoothing: chosen.smoothing,
			});
		const whole = (...values: DeviceTensor[]) =>
			lossOf({...input, adapter: Object.fromEntries(names.map((name, index) => [name, values[index]!]))}, embedded, 0);
		const {value, grads} = tf.valueAndGrads(whole)(names.map(name => asTensors(tensors)[name]!));
		const atCut = tf.grad(activations => lossOf({...input, adapter: asTensors(tensors)}, activations as Matrix, cut))(
			cutActivations,
		);
		const gradients: AdapterTensors = {};
		for (const [index, name] of names.entries())
			gradients[name] = {shape: tensors[name]!.shape, values: grads[index]!.dataSync() as Float32Array};
		return {loss: value.dataSync()[0]!, inputGradient: atCut.dataSync() as Float32Array, gradients};
	});
	tf.dispose([...weights.values(), ...(input.masks?.values() ?? [])]);
	return outcome;
}

const asTensors = (tensors: AdapterTensors) =>
	Object.fromEntries(Object.entries(tensors).map(([name, {values, shape}]) => [name, tf.tensor2d(values, [...shape])]));

function embed(config: ModelConfig, weights: ReadonlyMap<string, DeviceTensor>, {ids, lengths}: Batch): Matrix {
	const isGpt2 = config.family === 'gpt2';
	const tokens = tf.gather(weights.get(isGpt2 ? 'transformer.wte.weight' : 'model.embed_tokens.weight')!, [...ids!]);
	if (!isGpt2) return tokens as Matrix;
	const positions = lengths.flatMap(length => Array.from({length}, (_, position) => position));
	return tf.add(tokens, tf.gather(weights.get('transformer.wpe.weight')!, positions)) as Matrix;
}

function masksOf(config: ModelConfig, chosen: Case, tensors: AdapterTensors): Map<string, DeviceTensor> | undefined {
	const dropout = dropoutOf(chosen);
	if (!dropout) return undefined;
	const masks = new Map<string, DeviceTensor>();
	for (let block = 0; block < config.blocks; block++) {
		for (const projection of chosen.projections.concat('v')) {
			if (!tensors[adapterNames(block, projection).a]) continue;
			const columns = placeOf(config, projection).inputs;
			masks.set(
				`block.${block}.${projection}`,
				tf.tensor2d(dropoutMask(dropout, {block, projection, columns}), [tokensOf(chosen), columns]),
			);
		}
	}
	return masks;
}
