/**
The kernels as raw TensorFlow operations: one call into the library each, about half the cost of the TensorFlow.js operation around it.
*/
import type * as Tf from '@tensorflow/tfjs';
import type {DeviceTensor, Kernels} from './kernels.ts';
import {crossEntropyOf} from './native-cross-entropy.ts';
import {type Constants, constantsOf, type NodeBackend, type Operations, operationsOf} from './native-operations.ts';
import {portableKernels} from './portable-kernels.ts';

/** Kernels on the Node backend; what has no fast raw form is taken from the portable set. */
export function nativeKernels(tf: typeof Tf, backend: NodeBackend): Kernels {
	const portable = portableKernels(tf);
	const constants = constantsOf(tf);
	const operations = operationsOf(backend);
	const {unary, binary, products, ints} = operations;
	const mulComplex = complexProduct(operations, constants);
	const crossEntropy = crossEntropyOf(operations, constants);
	const negatedSquareTimes = binary('ReciprocalGrad');
	const rows = (name: string) => {
		const attributes = [operations.float, operations.flag('keep_dims', true), ints('Tidx')];
		return (x: DeviceTensor) => operations.run(name, attributes, [x, constants.vector([-1])]);
	};
	return {
		...portable,
		download: x => x.dataSync() as Float32Array,
		liveTensors: () => tf.memory().numTensors - constants.count(),

		matMul: products('MatMul', 'transpose_a', 'transpose_b'),
		batchMatMul: products('BatchMatMulV2', 'adj_x', 'adj_y'),
		add: binary('AddV2'),
		sub: binary('Sub'),
		mul: binary('Mul'),
		mulComplex: (x, factors) => portable.scope(() => mulComplex(x, factors)),
		addBias: binary('BiasAdd'),
		scale: scalar(binary('Mul'), constants),
		addScalar: scalar(binary('AddV2'), constants),
		square: unary('Square'),
		negatedCube: x => negatedSquareTimes(x, x),
		sum: terms => operations.run('AddN', [operations.count('N', terms.length), operations.float], terms),
		rsqrt: unary('Rsqrt'),
		sigmoid: unary('Sigmoid'),
		sigmoidGradient: binary('SigmoidGrad'),
		softmax: unary('Softmax'),
		meanOfRows: rows('Mean'),
		sumOfRows: rows('Sum'),
		...shapeKernels(operations, constants),
		...rowKernels(operations, constants),
		crossEntropy: (logits, labels) => portable.scope(() => crossEntropy(logits, labels)),
	};
}

const scalar =
	(operation: (a: DeviceTensor, b: DeviceTensor) => DeviceTensor, constants: Constants) =>
	(x: DeviceTensor, value: number) =>
		operation(x, constants.factor(value));

/** One pass over the values: a view of pairs as complex numbers, or back, copies nothing. */
function complexProduct({run, binary, float, floats, complexes, ints, type}: Operations, constants: Constants) {
	const multiply = binary('Mul', complexes);
	const reshapeAttributes = [float, ints('Tshape')];
	const toComplex = [float, type('type', complexes)];
	const toFloat = [type('T', complexes), type('type', floats)];
	const reshape = (x: DeviceTensor, shape: readonly number[]) =>
		run('Reshape', reshapeAttributes, [x, constants.vector(shape)]);
	const complex = (pairs: DeviceTensor) => run('Bitcast', toComplex, [pairs]);
	return (x: DeviceTensor, factors: DeviceTensor) => {
		const pairs = reshape(x, [...x.shape.slice(0, -1), -1, 2]);
		return reshape(run('Bitcast', toFloat, [multiply(complex(pairs), complex(factors))]), x.shape);
	};
}

/** Kernels that move values without arithmetic. */
function shapeKernels({run, runMany, float, ints, count}: Operations, constants: Constants) {
	const reshapeAttributes = [float, ints('Tshape')];
	const transposeAttributes = [float, ints('Tperm')];
	return {
		reshape: (x: DeviceTensor, shape: readonly number[]) =>
			run('Reshape', reshapeAttributes, [x, constants.vector(shape)]),
		transpose: (x: DeviceTensor, permutation: readonly number[]) =>
			run('Transpose', transposeAttributes, [x, constants.vector(permutation)]),
		split: (x: DeviceTensor, extents: readonly number[], axis: number) => {
			const attributes = [count('num_split', extents.length), float, ints('Tlen')];
			return runMany('SplitV', attributes, [x, constants.vector(extents), constants.integer(axis)], extents.length);
		},
		concat: (pieces: readonly DeviceTensor[], axis: number) =>
			run('ConcatV2', [count('N', pieces.length), float, ints('Tidx')], [...pieces, constants.integer(axis)]),
	};
}

/** Kernels that read or write rows by an index. */
function rowKernels({run, float, floats, ints, type, count}: Operations, constants: Constants) {
	const gatherAttributes = [count('batch_dims', 0), type('Tparams', floats), ints('Tindices'), ints('Taxis')];
	const scatterAttributes = [float, ints('Tindices'), ints('Tnumsegments')];
	return {
		gatherRows: (x: DeviceTensor, index: DeviceTensor) =>
			run('GatherV2', gatherAttributes, [x, index, constants.integer(0)]),
		scatterRows: (x: DeviceTensor, index: DeviceTensor, rows: number) =>
			run('UnsortedSegmentSum', scatterAttributes, [x, index, constants.integer(rows)]),
	};
}
