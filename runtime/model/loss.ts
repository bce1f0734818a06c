/**
Cross-entropy at the target rows through final norm and LM head, with label smoothing, and its gradient at the head's input.
Never holds more logits than a bound: the rows are taken in chunks.
*/
import type {DeviceTensor, Kernels} from '../tensor/backend.ts';
import {norm, normBackward} from './layers.ts';
import type {Head} from './weights.ts';

/** At most this many logits at a time (128 MiB, and as much for their gradient). */
const logitsMax = 1 << 25;

/** The loss of row j is `(1 - smoothing) (-log p(label)) + smoothing mean over V of (-log p)`; the total is `sum weights[j] loss_j`. */
export type LossInput = {
	readonly labels: Int32Array;
	readonly weights: Float32Array;
	/** Default 0. */
	readonly labelSmoothing?: number | undefined;
};

/** The losses of rows `[n, H]`, unweighted, without a gradient. */
export function losses(
	k: Kernels,
	head: Head,
	rows: DeviceTensor,
	{labels, labelSmoothing}: Omit<LossInput, 'weights'>,
): Float32Array {
	const {y} = norm(k, head.norm, rows);
	const result = new Float32Array(labels.length);
	for (const {piece, start, end} of chunks(k, head, y)) {
		k.scope(() => {
			const chunk = chunkLoss(k, head, piece, labels.subarray(start, end), labelSmoothing ?? 0);
			result.set(k.download(chunk.losses), start);
		});
	}
	return result;
}

/** The losses and the gradient of the total at `rows`, `[n, H]`. */
export function lossesWithGradient(
	k: Kernels,
	head: Head,
	rows: DeviceTensor,
	{labels, weights, labelSmoothing}: LossInput,
): {losses: Float32Array; gradient: DeviceTensor} {
	const {y, saved} = norm(k, head.norm, rows);
	const result = new Float32Array(labels.length);
	const gradients = chunks(k, head, y).map(({piece, start, end}) =>
		k.scope(() => {
			const chunk = chunkLoss(k, head, piece, labels.subarray(start, end), labelSmoothing ?? 0);
			result.set(k.download(chunk.losses), start);
			return k.mul(chunk.gradient(), k.upload(weights.subarray(start, end), [end - start, 1]));
		}),
	);
	const dy = gradients.length === 1 ? gradients[0]! : k.concat(gradients, 0);
	return {losses: result, gradient: normBackward(k, head.norm, saved, dy)};
}

/** The logits of rows `[n, H]`, `[n, V]`. */
export function logitsOf(k: Kernels, head: Head, rows: DeviceTensor): Float32Array {
	const {y} = norm(k, head.norm, rows);
	const vocabulary = head.weight.shape[0]!;
	const result = new Float32Array(rows.shape[0]! * vocabulary);
	for (const {piece, start} of chunks(k, head, y)) {
		k.scope(() => result.set(k.download(k.matMul(piece, head.weight, false, true)), start * vocabulary));
	}
	return result;
}

function chunks(k: Kernels, head: Head, rows: DeviceTensor): {piece: DeviceTensor; start: number; end: number}[] {
	const total = rows.shape[0]!;
	const size = Math.max(1, Math.floor(logitsMax / head.weight.shape[0]!));
	const extents = Array.from({length: Math.ceil(total / size)}, (_, index) => Math.min(size, total - index * size));
	const pieces = extents.length === 1 ? [rows] : k.split(rows, extents, 0);
	return pieces.map((piece, index) => ({piece, start: index * size, end: index * size + extents[index]!}));
}

/**
Smoothing adds `smoothing (z_label - mean z)` to a row's loss. As `z = E y`, that is `smoothing y . (E_label - mean E)`,
so it costs nothing of the vocabulary's size, and neither does its gradient `smoothing (E_label - mean E)`.
*/
function chunkLoss(k: Kernels, {weight}: Head, y: DeviceTensor, labels: Int32Array, smoothing: number) {
	const index = k.uploadIndex(labels);
	const logits = k.matMul(y, weight, false, true);
	const plain = k.crossEntropy(logits, index);
	k.dispose(logits);
	const contrast =
		smoothing === 0 ? undefined : k.scale(k.sub(k.gatherRows(weight, index), k.meanOfColumns(weight)), smoothing);
	const extra = contrast && k.reshape(k.sumOfRows(k.mul(y, contrast)), [labels.length]);
	return {
		losses: extra ? k.add(plain.losses, extra) : plain.losses,
		gradient: () => {
			const gradient = k.matMul(plain.gradient, weight);
			return contrast ? k.add(gradient, contrast) : gradient;
		},
	};
}
