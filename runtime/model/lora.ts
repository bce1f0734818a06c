/**
LoRA adapters (arXiv 2106.09685) as plain arrays: what they adapt, how they start. No tensors of the backend here.

            x [N, in]
            |            \
            |             A [r, in]     trained, Kaiming-uniform at first
       W [in, out]        |
       frozen             u [N, r]
            |             |
            |             B [out, r]    trained, zero at first
            |            /
       y [N, out]   y = x W + scaling (x A^T) B^T,   scaling = alpha / r   (rank-stabilised: alpha / sqrt r)
*/
import {CutlayerError} from '../../protocols/errors.ts';
import {f32View, type NamedTensors, sizeOf, tensorOf} from '../../protocols/tensor.ts';
import {randomStream} from '../random.ts';
import type {ModelConfig} from './config.ts';

/** What can be adapted. `qkv` is GPT-2's fused projection (PEFT's `c_attn`); `gate` exists in the Llama family only. */
export type Projection = 'q' | 'k' | 'v' | 'o' | 'gate' | 'up' | 'down' | 'qkv';

export type LoraSpec = {
	/** r: the inner extent of A and B. */
	readonly rank: number;
	readonly alpha: number;
	/** Default in the papers: q and v. */
	readonly targets: readonly Projection[];
	/** The probability with which a value of x is dropped before A in training. */
	readonly dropout: number;
	/** Scaling alpha / sqrt r (arXiv 2312.03732) instead of alpha / r. */
	readonly isRankStabilised: boolean;
};

/** A matrix of an adapter, row-major. */
export type AdapterTensor = {readonly shape: readonly [number, number]; readonly values: Float32Array};

/** `block.<i>.<projection>.A` of shape `[r, in]` and `.B` of shape `[out, r]`; i counts blocks of the whole model. */
export type AdapterTensors = Record<string, AdapterTensor>;

/** An adapter with what its scaling follows from; the rank is read from each A. */
export type Adapter = {
	readonly alpha: number;
	readonly isRankStabilised: boolean;
	/** In place of what follows from alpha and rank. */
	readonly scaling?: number;
	readonly tensors: AdapterTensors;
	/** Deltas over the frozen weights, with scaling 1 and without dropout; nothing trains them. */
	readonly overlay?: AdapterTensors | undefined;
};

/** The factor of B A x for a rank. */
export const scalingOf = (
	{alpha, isRankStabilised, scaling}: Omit<Adapter, 'tensors' | 'overlay'>,
	rank: number,
): number => scaling ?? alpha / (isRankStabilised ? Math.sqrt(rank) : rank);

/** The linear maps of a block (`gate` in the Llama family only); adapted projections are column ranges of their outputs. */
export type Slot = 'qkv' | 'o' | 'gate' | 'up' | 'down';

/** Where a projection lies: its map, the first output column and the extents of its A and B. */
export type Place = {readonly slot: Slot; readonly offset: number; readonly outputs: number; readonly inputs: number};

/** The place of a projection; throws `scenario-invalid` when the model has no such projection. */
export function placeOf(config: ModelConfig, projection: Projection): Place {
	const {hidden, heads, kvHeads, headDim, ffn} = config;
	const queries = heads * headDim;
	const keys = kvHeads * headDim;
	const isGated = config.family === 'llama';
	const places: Record<Projection, Place | undefined> = {
		q: {slot: 'qkv', offset: 0, outputs: queries, inputs: hidden},
		k: {slot: 'qkv', offset: queries, outputs: keys, inputs: hidden},
		v: {slot: 'qkv', offset: queries + keys, outputs: keys, inputs: hidden},
		qkv: isGated ? undefined : {slot: 'qkv', offset: 0, outputs: queries + 2 * keys, inputs: hidden},
		o: {slot: 'o', offset: 0, outputs: hidden, inputs: queries},
		gate: isGated ? {slot: 'gate', offset: 0, outputs: ffn, inputs: hidden} : undefined,
		up: {slot: 'up', offset: 0, outputs: ffn, inputs: hidden},
		down: {slot: 'down', offset: 0, outputs: hidden, inputs: ffn},
	};
	const place = places[projection];
	if (place) return place;
	const names = Object.keys(places).filter(name => places[name as Projection]);
	throw new CutlayerError(
		'scenario-invalid',
		`LoRA target \`${projection}\` does not exist in a ${config.family} model; choose from ${names.join(', ')}`,
	);
}

/** The names of a projection's two matrices in an adapter. */
export const adapterNames = (block: number, projection: Projection) =>
	({a: `block.${block}.${projection}.A`, b: `block.${block}.${projection}.B`}) as const;

/**
A fresh adapter for blocks `[from, to)`: A uniform in +-1/sqrt(in) (Kaiming with a = sqrt 5), B zero.
A depends on (seed, block, projection) alone, so every owner of a block starts from the same numbers.
*/
export function initAdapter(
	config: ModelConfig,
	{rank, targets}: Pick<LoraSpec, 'rank' | 'targets'>,
	{from, to}: {readonly from: number; readonly to: number},
	seed: number | string,
): AdapterTensors {
	const tensors: AdapterTensors = {};
	for (let block = from; block < to; block++) {
		for (const projection of targets) {
			const {inputs, outputs} = placeOf(config, projection);
			const names = adapterNames(block, projection);
			const random = randomStream(seed, 'lora-a', block, projection);
			const bound = 1 / Math.sqrt(inputs);
			const a = Float32Array.from({length: rank * inputs}, () => (2 * random.float() - 1) * bound);
			tensors[names.a] = {shape: [rank, inputs], values: a};
			tensors[names.b] = {shape: [outputs, rank], values: new Float32Array(outputs * rank)};
		}
	}
	return tensors;
}

/** The adapter as tensors that cross boundaries, over the same memory. */
export const toNamedTensors = (tensors: AdapterTensors): NamedTensors =>
	Object.fromEntries(Object.entries(tensors).map(([name, {values, shape}]) => [name, tensorOf(values, shape)]));

/** The other way; views where the bytes are aligned. Throws a plain error for anything but f32 matrices. */
export function fromNamedTensors(named: NamedTensors): AdapterTensors {
	const tensors: AdapterTensors = {};
	for (const [name, tensor] of Object.entries(named)) {
		const [rows, columns, ...rest] = tensor.shape;
		if (rows === undefined || columns === undefined || rest.length > 0) {
			throw new Error(`Expected the adapter tensor ${name} to be a matrix, got the shape [${tensor.shape.join(', ')}]`);
		}
		tensors[name] = {shape: [rows, columns], values: f32View(tensor)};
	}
	return tensors;
}

/** A copy that shares no memory. */
export const cloneAdapter = (tensors: AdapterTensors): AdapterTensors =>
	Object.fromEntries(Object.entries(tensors).map(([name, {shape, values}]) => [name, {shape, values: values.slice()}]));

/** An adapter of the same names and shapes, all zero. */
export const zerosLike = (tensors: AdapterTensors): AdapterTensors =>
	Object.fromEntries(
		Object.entries(tensors).map(([name, {shape, values}]) => [name, {shape, values: new Float32Array(values.length)}]),
	);

/** The part of an adapter that belongs to blocks `[from, to)`, over the same memory. */
export const blocksOf = (
	tensors: AdapterTensors,
	{from, to}: {readonly from: number; readonly to: number},
): AdapterTensors =>
	Object.fromEntries(
		Object.entries(tensors).filter(([name]) => {
			const block = Number(name.split('.')[1]);
			return block >= from && block < to;
		}),
	);

/** The number of trained values. */
export const sizeOfAdapter = (tensors: AdapterTensors): number =>
	Object.values(tensors).reduce((sum, {shape}) => sum + sizeOf(shape), 0);

/** Every B alone, over the same memory: what FFA-LoRA trains and sends (Sun et al., ICLR 2024). */
export const onlyB = (tensors: AdapterTensors): AdapterTensors =>
	Object.fromEntries(Object.entries(tensors).filter(([name]) => name.endsWith('.B')));
