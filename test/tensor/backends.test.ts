import test from 'ava';
import type {ModelConfig} from '../../runtime/model/config.ts';
import {initAdapter} from '../../runtime/model/lora.ts';
import {SplitModel} from '../../runtime/model/split.ts';
import {type Backend, type BackendKind, openBackend} from '../../runtime/tensor/backend.ts';
import {openNative} from '../_helpers/backend.ts';
import {adapterDifference, differenceMax} from '../_helpers/golden.ts';
import {randomSource} from '../_helpers/random-model.ts';
import {allKernels} from './all-kernels.ts';

/** The backends share one engine in a process, so each is used from its opening to its last kernel before the next. */
const kinds: readonly BackendKind[] = ['tensorflow', 'wasm', 'cpu'];
const open = (kind: BackendKind): Promise<Backend> => (kind === 'tensorflow' ? openNative() : openBackend({kind}));

test.serial('every kernel gives the same numbers on all three backends and leaves no tensor', async t => {
	const outcomes = [];
	for (const kind of kinds) {
		const {kernels} = await open(kind);
		const before = kernels.liveTensors();
		outcomes.push(allKernels(kernels));
		t.is(kernels.liveTensors(), before, kind);
	}
	const [native, ...others] = outcomes;
	for (const [at, other] of others.entries()) {
		for (const [name, values] of Object.entries(native!)) {
			const error = differenceMax(other[name]!, values);
			t.true(error < 1e-5, `${name} differs by ${error} on ${kinds[at + 1]}`);
		}
	}
});

const llama: ModelConfig = {
	family: 'llama',
	blocks: 3,
	hidden: 12,
	heads: 4,
	kvHeads: 2,
	headDim: 4,
	ffn: 20,
	vocabulary: 31,
	context: 16,
	normEps: 1e-5,
	ropeTheta: 1e4,
	isHeadTied: false,
	hasQkvBias: true,
};
const gpt2: ModelConfig = {...llama, family: 'gpt2', kvHeads: 4, headDim: 3, ropeTheta: 0, isHeadTied: true};

/** A split step of three ragged rows with dropout and smoothing. */
async function step(backend: Backend, config: ModelConfig) {
	const source = randomSource(config, 5);
	const head = await SplitModel.load(source, backend, {from: 0, to: 1, hasEmbedding: true, hasHead: false});
	const tail = await SplitModel.load(source, backend, {from: 1, to: 3, hasEmbedding: false, hasHead: true});
	const before = backend.kernels.liveTensors();
	const lengths = [5, 2, 4];
	const tensors = initAdapter(config, {rank: 2, targets: ['q', 'v', 'o', 'up', 'down']}, {from: 0, to: 3}, 1);
	for (const [name, {values}] of Object.entries(tensors))
		if (name.endsWith('.B')) values.set(values.map((_, at) => Math.sin(at + 1) / 5));
	const adapter = {alpha: 4, isRankStabilised: false, tensors};
	const options = {dropout: {probability: 0.25, groups: [{key: [1, 2, 3, 4] as const, rows: 11}]}};
	const ids = Int32Array.from({length: 11}, (_, index) => (index * 7) % 31);
	const {activations, saved} = head.forward({lengths, ids}, adapter, options);
	const targets = {
		positions: Int32Array.of(9, 2, 3),
		labels: Int32Array.of(4, 30, 0),
		weights: Float32Array.of(0.5, 0.2, 0.3),
		labelSmoothing: 0.1,
	};
	const {targetLosses, inputGradient, gradients} = tail.trainStep({lengths, activations}, targets, adapter, {
		...options,
		wantsInputGradient: true,
	});
	const back = head.backward(saved, inputGradient!);
	const left = backend.kernels.liveTensors() - before;
	head.dispose();
	tail.dispose();
	return {
		activations,
		targetLosses,
		inputGradient: inputGradient!,
		gradients: {...back.gradients[0]!, ...gradients[0]!},
		left,
	};
}

test.serial(
	'a split step of either family gives the same numbers on all three backends and leaves no tensor',
	async t => {
		for (const config of [gpt2, llama]) {
			const native = await step(await open('tensorflow'), config);
			t.is(native.left, 0);
			for (const kind of kinds.slice(1)) {
				const other = await step(await open(kind), config);
				t.is(other.left, 0, kind);
				t.true(differenceMax(other.activations, native.activations) < 1e-5, kind);
				t.true(differenceMax(other.targetLosses, native.targetLosses) < 1e-5, kind);
				t.true(differenceMax(other.inputGradient, native.inputGradient) < 1e-5, kind);
				t.true(adapterDifference(other.gradients, native.gradients) < 1e-4, kind);
			}
		}
	},
);
