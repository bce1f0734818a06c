/**
The arithmetic a model is made of, as a small set of typed kernels over tensors that live in the backend.
Knows shapes and dtypes, not models; every implementation gives the same numbers within float tolerance.
*/
import type {Tensor} from '@tensorflow/tfjs';

/** A tensor in the backend's memory, f32 unless its name says otherwise. It lives until its scope ends or it is disposed. */
export type DeviceTensor = Tensor;

/** Shapes: `r` rows, `c` columns, `...` any leading extents. All results are new tensors. */
export interface Kernels {
	/** A tensor over the values; they may be aliased, so they must not change while the tensor lives. */
	upload(values: Float32Array, shape: readonly number[]): DeviceTensor;
	/** An int32 vector, for `gatherRows`, `scatterRows` and labels. The values must not change while it lives. */
	uploadIndex(values: Int32Array): DeviceTensor;
	/** A copy of the values. */
	download(x: DeviceTensor): Float32Array;
	/** Frees every tensor made inside `compute` except those in its result. */
	scope<T>(compute: () => T): T;
	/** The result of `compute`, the last to use a tensor, which is freed. */
	consume<T>(used: DeviceTensor, compute: () => T): T;
	/** Frees every tensor in any nesting of objects and arrays at once. */
	dispose(tree: object): void;
	/** The number of tensors alive, without the constants the kernels keep for themselves. */
	liveTensors(): number;

	/** `[r, k] x [k, c]`, each side optionally transposed. */
	matMul(a: DeviceTensor, b: DeviceTensor, transposeA?: boolean, transposeB?: boolean): DeviceTensor;
	/** `[..., r, k] x [..., k, c]` over leading extents that are equal or absent on one side, each side optionally transposed. */
	batchMatMul(a: DeviceTensor, b: DeviceTensor, transposeA?: boolean, transposeB?: boolean): DeviceTensor;
	/** Broadcasts. */
	add(a: DeviceTensor, b: DeviceTensor): DeviceTensor;
	/** Broadcasts. */
	sub(a: DeviceTensor, b: DeviceTensor): DeviceTensor;
	/** Broadcasts. */
	mul(a: DeviceTensor, b: DeviceTensor): DeviceTensor;
	/** Takes values 2i and 2i + 1 of the last axis for one complex number and multiplies `[..., r, c]` by `[r, c / 2, 2]` so. */
	mulComplex(x: DeviceTensor, factors: DeviceTensor): DeviceTensor;
	/** `[r, c] + [c]`. */
	addBias(x: DeviceTensor, bias: DeviceTensor): DeviceTensor;
	scale(x: DeviceTensor, factor: number): DeviceTensor;
	addScalar(x: DeviceTensor, term: number): DeviceTensor;
	square(x: DeviceTensor): DeviceTensor;
	/** `-x^3`, which TensorFlow has in one pass. */
	negatedCube(x: DeviceTensor): DeviceTensor;
	/** The sum of tensors of one shape, in one pass. */
	sum(terms: readonly DeviceTensor[]): DeviceTensor;
	/** `1 / sqrt(x)`. */
	rsqrt(x: DeviceTensor): DeviceTensor;
	sigmoid(x: DeviceTensor): DeviceTensor;
	/** `dy y (1 - y)` for `y = sigmoid(x)`. */
	sigmoidGradient(y: DeviceTensor, dy: DeviceTensor): DeviceTensor;
	/** Over the last axis. */
	softmax(x: DeviceTensor): DeviceTensor;
	/** Mean over the last axis, which is kept with extent 1. */
	meanOfRows(x: DeviceTensor): DeviceTensor;
	/** Sum over the last axis, which is kept with extent 1. */
	sumOfRows(x: DeviceTensor): DeviceTensor;
	/** Mean over the first axis: `[r, c]` to `[c]`. */
	meanOfColumns(x: DeviceTensor): DeviceTensor;

	reshape(x: DeviceTensor, shape: readonly number[]): DeviceTensor;
	transpose(x: DeviceTensor, permutation: readonly number[]): DeviceTensor;
	/** Consecutive pieces of the given extents along an axis; the extents sum to the axis' extent. */
	split(x: DeviceTensor, extents: readonly number[], axis: number): DeviceTensor[];
	concat(pieces: readonly DeviceTensor[], axis: number): DeviceTensor;
	/** Rows of `[n, c]` by an int32 index `[r]`: `[r, c]`. */
	gatherRows(x: DeviceTensor, index: DeviceTensor): DeviceTensor;
	/** Adds row j of `[r, c]` to row `index[j]` of `[rows, c]` zeros. */
	scatterRows(x: DeviceTensor, index: DeviceTensor, rows: number): DeviceTensor;
	/** For logits `[r, V]` and int32 labels `[r]`: `-log p(label)` as `[r]` and its gradient at the logits `[r, V]`. */
	crossEntropy(logits: DeviceTensor, labels: DeviceTensor): {losses: DeviceTensor; gradient: DeviceTensor};
}
