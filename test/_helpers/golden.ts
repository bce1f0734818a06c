/**
Golden numbers and small models for the model tests: safetensors under test/golden as plain arrays, padded batches as packed ones.
*/
import {readFileSync} from 'node:fs';
import {f32View, i32View} from '../../protocols/tensor.ts';
import type {Batch, Targets} from '../../runtime/model/batch.ts';
import type {AdapterTensors, Projection} from '../../runtime/model/lora.ts';
import {readSafetensors} from '../../runtime/weights/safetensors.ts';

/** A matrix, vector or batch of matrices of a golden file. */
export type Golden = {readonly shape: readonly number[]; readonly values: Float32Array};

/** A file below test/golden. */
export const goldenPath = (name: string): string => new URL(`../golden/${name}`, import.meta.url).pathname;

/** A JSON file below test/golden. */
export const goldenJson = <T>(name: string): T => JSON.parse(readFileSync(goldenPath(name), 'utf8')) as T;

/** The f32 tensors of a safetensors file below test/golden. */
export async function goldenTensors(name: string): Promise<Map<string, Golden>> {
	const {tensors} = await readSafetensors(goldenPath(name));
	const floats = Object.entries(tensors).filter(([, tensor]) => tensor.dtype === 'f32');
	return new Map(floats.map(([key, tensor]) => [key, {shape: tensor.shape, values: f32View(tensor)}]));
}

/** A padded batch of the goldens as packed rows, with its targets weighted `1 / targets` (the mean). */
export type PackedBatch = {
	readonly batch: Batch & {ids: Int32Array; lengths: number[]};
	readonly targets: Targets;
	/** Index of each packed row in the padded `[rows, T]`. */
	readonly places: number[];
};

/** Reads `<prefix>input_ids`, `attention_mask`, `loss_mask` of a file; a position's target is the next token where the mask is 1. */
export async function goldenBatch(name: string, prefix = ''): Promise<PackedBatch> {
	const {tensors} = await readSafetensors(goldenPath(name));
	const ints = (key: string) => i32View(tensors[prefix + key]!);
	const [rows, padded] = tensors[`${prefix}input_ids`]!.shape as [number, number];
	return pack({ids: ints('input_ids'), attention: ints('attention_mask'), loss: ints('loss_mask')}, rows, padded);
}

function pack(
	{ids, attention, loss}: {ids: Int32Array; attention: Int32Array; loss: Int32Array},
	rows: number,
	padded: number,
) {
	const places = Array.from(attention.keys()).filter(place => attention[place] === 1);
	const lengths = Array.from(
		{length: rows},
		(_, row) => places.filter(place => Math.floor(place / padded) === row).length,
	);
	const positions = places.flatMap((place, token) =>
		place % padded < padded - 1 && loss[place + 1] === 1 ? [token] : [],
	);
	const labels = positions.map(token => ids[places[token]! + 1]!);
	return {
		batch: {ids: Int32Array.from(places, place => ids[place]!), lengths},
		targets: {
			positions: Int32Array.from(positions),
			labels: Int32Array.from(labels),
			weights: new Float32Array(positions.length).fill(1 / positions.length),
		},
		places,
	};
}

/** The packed rows of a padded golden `[rows, T, H]`. */
export function packedRows({shape, values}: Golden, places: readonly number[]): Float32Array {
	const width = shape.at(-1)!;
	const rows = new Float32Array(places.length * width);
	for (const [token, place] of places.entries())
		rows.set(values.subarray(place * width, (place + 1) * width), token * width);
	return rows;
}

const projections: Record<string, Projection> = {
	q: 'q',
	v: 'v',
	c_attn: 'qkv',
	q_proj: 'q',
	k_proj: 'k',
	v_proj: 'v',
	o_proj: 'o',
};

/** An adapter (or gradients, with the prefix `grad.`) from golden names such as `h.0.attn.q.lora_A` and `layers.0.self_attn.q_proj.lora_A`. */
export function goldenAdapter(tensors: ReadonlyMap<string, Golden>, prefix = ''): AdapterTensors {
	const adapter: AdapterTensors = {};
	for (const [key, {shape, values}] of tensors) {
		if (!key.startsWith(prefix)) continue;
		const match =
			/^(?:base_model\.model\.model\.)?(?:h|layers)\.(\d+)\.(?:self_)?attn\.(\w+)\.lora_([AB])(?:\.weight)?$/.exec(
				key.slice(prefix.length),
			);
		if (match)
			adapter[`block.${match[1]}.${projections[match[2]!]}.${match[3]}`] = {shape: [shape[0]!, shape[1]!], values};
	}
	return adapter;
}

/** The largest absolute difference. */
export function differenceMax(ours: ArrayLike<number>, theirs: ArrayLike<number>): number {
	if (ours.length !== theirs.length) return Number.POSITIVE_INFINITY;
	let max = 0;
	for (let index = 0; index < ours.length; index++) {
		const difference = Math.abs(ours[index]! - theirs[index]!);
		if (!(difference <= max)) max = difference;
	}
	return max;
}

/** The largest difference relative to the largest value of theirs. */
export function relativeMax(ours: ArrayLike<number>, theirs: ArrayLike<number>): number {
	const scale = Math.max(1e-30, differenceMax(theirs, new Float32Array(theirs.length)));
	return differenceMax(ours, theirs) / scale;
}

/** The worst `relativeMax` over the tensors of an adapter; infinite when names differ. */
export function adapterDifference(ours: AdapterTensors, theirs: AdapterTensors, compare = relativeMax): number {
	const names = Object.keys(theirs);
	if (names.length === 0 || Object.keys(ours).length !== names.length) return Number.POSITIVE_INFINITY;
	return Math.max(...names.map(name => compare(ours[name]?.values ?? [], theirs[name]!.values)));
}

/** The sum of `weights[j] losses[j]`. */
export const weightedSum = (losses: Float32Array, weights: Float32Array): number =>
	losses.reduce((sum, loss, index) => sum + loss * weights[index]!, 0);
