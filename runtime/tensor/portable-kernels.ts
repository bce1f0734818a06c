/**
The kernels from ordinary TensorFlow.js operations, for the backends without raw kernels (wasm, cpu).
Uses no operation that the wasm backend lacks (UnsortedSegmentSum, Einsum, LogSoftmax).
*/
import type * as Tf from '@tensorflow/tfjs';
import type {DeviceTensor, Kernels} from './kernels.ts';
import {scopesOf} from './scope.ts';

/** Kernels on whatever backend the given TensorFlow.js has active. */
export function portableKernels(tf: typeof Tf): Kernels {
	return {
		upload: (values, shape) => tf.tensor(values, [...shape], 'float32'),
		uploadIndex: values => tf.tensor1d(values, 'int32'),
		download: x => (x.dataSync() as Float32Array).slice(),
		...scopesOf(tf),
		liveTensors: () => tf.memory().numTensors,

		matMul: (a, b, transposeA = false, transposeB = false) => tf.matMul(a, b, transposeA, transposeB),
		batchMatMul: (a, b, transposeA = false, transposeB = false) => tf.matMul(a, b, transposeA, transposeB),
		add: (a, b) => tf.add(a, b),
		sub: (a, b) => tf.sub(a, b),
		mul: (a, b) => tf.mul(a, b),
		mulComplex: (x, factors) => mulComplex(tf, x, factors),
		addBias: (x, bias) => tf.add(x, bias),
		scale: (x, factor) => tf.mul(x, factor),
		addScalar: (x, term) => tf.add(x, term),
		square: x => tf.square(x),
		negatedCube: x => tf.neg(tf.mul(x, tf.square(x))),
		sum: terms => tf.addN([...terms]),
		rsqrt: x => tf.rsqrt(x),
		sigmoid: x => tf.sigmoid(x),
		sigmoidGradient: (y, dy) => tf.mul(dy, tf.sub(y, tf.square(y))),
		softmax: x => tf.softmax(x),
		meanOfRows: x => tf.mean(x, -1, true),
		sumOfRows: x => tf.sum(x, -1, true),
		meanOfColumns: x => tf.mean(x, 0),

		reshape: (x, shape) => tf.reshape(x, [...shape]),
		transpose: (x, permutation) => tf.transpose(x, [...permutation]),
		split: (x, extents, axis) => tf.split(x, [...extents], axis),
		concat: (pieces, axis) => tf.concat([...pieces], axis),
		gatherRows: (x, index) => tf.gather(x, index as Tf.Tensor1D),
		scatterRows: (x, index, rows) => tf.scatterND(tf.reshape(index, [-1, 1]), x, [rows, x.shape[1]!]),
		crossEntropy: (logits, labels) => crossEntropy(tf, logits, labels),
	};
}

/**
Products of complex numbers that lie side by side, without taking them apart (slices of single values are slow on wasm): both parts
times the real factor, plus the parts changed places times the imaginary one, less for the real part.
*/
function mulComplex(tf: typeof Tf, x: DeviceTensor, factors: DeviceTensor) {
	const width = x.shape.at(-1)!;
	const times = (values: DeviceTensor, matrix: Float32Array) =>
		tf.matMul(tf.reshape(values, [-1, width]), tf.tensor2d(matrix, [width, width]));
	const {swap, real, imaginary} = pairMatrices(width);
	const swapped = tf.reshape(times(x, swap), x.shape);
	return tf.add(tf.mul(x, times(factors, real)), tf.mul(swapped, times(factors, imaginary)));
}

/** Maps of rows of pairs (a, b): `swap` to (b, a), `real` to (a, a), `imaginary` to (-b, b). */
function pairMatrices(width: number) {
	const matrix = (fill: (first: number, second: number) => readonly [at: number, value: number][]) => {
		const values = new Float32Array(width * width);
		for (let first = 0; first < width; first += 2) {
			for (const [at, value] of fill(first * width + first, (first + 1) * width + first)) values[at] = value;
		}
		return values;
	};
	return {
		swap: matrix((a, b) => [
			[a + 1, 1],
			[b, 1],
		]),
		real: matrix(a => [
			[a, 1],
			[a + 1, 1],
		]),
		imaginary: matrix((_, b) => [
			[b, -1],
			[b + 1, 1],
		]),
	};
}

/** Through the shifted log-sum-exp, so that large logits neither overflow nor lose the small probabilities. */
function crossEntropy(tf: typeof Tf, logits: DeviceTensor, labels: DeviceTensor) {
	const shifted = tf.sub(logits, tf.max(logits, 1, true));
	const exponentials = tf.exp(shifted);
	const sums = tf.sum(exponentials, 1, true); // [r, 1]
	const isLabel = tf.cast(tf.oneHot(labels as Tf.Tensor1D, logits.shape[1]!), 'float32'); // wasm writes integers whatever the dtype
	const losses = tf.sub(tf.reshape(tf.log(sums), [-1]), tf.sum(tf.mul(shifted, isLabel), 1));
	return {losses, gradient: tf.sub(tf.div(exponentials, sums), isLabel)};
}
