/**
The kernels as raw TensorFlow operations: one call into the library each, about half the cost of the TensorFlow.js operation around it.
*/
import type * as Tf from '@tensorflow/tfjs';
import type {DeviceTensor, Kernels} from './kernels.ts';
import {portableKernels} from './portable-kernels.ts';

/** What is used of TensorFlow.js' Node backend, which its types do not show. */
export type NodeBackend = {
	readonly binding: {
		readonly TF_FLOAT: number;
		readonly TF_INT32: number;
		readonly TF_ATTR_TYPE: number;
		readonly TF_ATTR_BOOL: number;
		readonly TF_ATTR_INT: number;
		readonly TF_Version: string;
	};
	readonly isUsingGpuDevice: boolean;
	executeSingleOutput(name: string, attributes: readonly Attribute[], inputs: readonly DeviceTensor[]): DeviceTensor;
	executeMultipleOutputs(
		name: string,
		attributes: readonly Attribute[],
		inputs: readonly DeviceTensor[],
		outputs: number,
	): DeviceTensor[];
};

type Attribute = {readonly name: string; readonly type: number; readonly value: number | boolean};

/** Kept shape, axis and factor constants: enough for a run's usual shapes, bounded for ragged ones. */
const constantsMax = 256;

/** Kernels on the Node backend; what has no fast raw form is taken from the portable set. */
export function nativeKernels(tf: typeof Tf, backend: NodeBackend): Kernels {
	const portable = portableKernels(tf);
	const constants = constantsOf(tf);
	const operations = operationsOf(backend);
	const {unary, binary, products, ints} = operations;
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
	};
}

const scalar =
	(operation: (a: DeviceTensor, b: DeviceTensor) => DeviceTensor, constants: Constants) =>
	(x: DeviceTensor, value: number) =>
		operation(x, constants.factor(value));

/** Typed ways to call operations whose attributes are prepared once. */
function operationsOf(backend: NodeBackend) {
	const {binding} = backend;
	const type = (name: string, value: number): Attribute => ({name, type: binding.TF_ATTR_TYPE, value});
	const flag = (name: string, value: boolean): Attribute => ({name, type: binding.TF_ATTR_BOOL, value});
	const count = (name: string, value: number): Attribute => ({name, type: binding.TF_ATTR_INT, value});
	const ints = (name: string) => type(name, binding.TF_INT32);
	const float = type('T', binding.TF_FLOAT);
	const run = (name: string, attributes: readonly Attribute[], inputs: readonly DeviceTensor[]) =>
		backend.executeSingleOutput(name, attributes, inputs);
	const runMany = (name: string, attributes: readonly Attribute[], inputs: readonly DeviceTensor[], outputs: number) =>
		backend.executeMultipleOutputs(name, attributes, inputs, outputs);
	const onlyFloat = [float];
	return {
		run,
		runMany,
		flag,
		count,
		ints,
		type,
		float,
		floats: binding.TF_FLOAT,
		unary: (name: string) => (x: DeviceTensor) => run(name, onlyFloat, [x]),
		binary: (name: string) => (a: DeviceTensor, b: DeviceTensor) => run(name, onlyFloat, [a, b]),
		products: (name: string, flagA: string, flagB: string) => {
			const of = (a: boolean, b: boolean) => [float, flag(flagA, a), flag(flagB, b)];
			const attributes = [of(false, false), of(true, false), of(false, true), of(true, true)];
			return (a: DeviceTensor, b: DeviceTensor, transposeA = false, transposeB = false) =>
				run(name, attributes[(transposeA ? 1 : 0) + (transposeB ? 2 : 0)]!, [a, b]);
		},
	};
}

type Operations = ReturnType<typeof operationsOf>;

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

/** Kernels over whole rows. */
function rowKernels({run, runMany, float, floats, ints, type, count}: Operations, constants: Constants) {
	const gatherAttributes = [count('batch_dims', 0), type('Tparams', floats), ints('Tindices'), ints('Taxis')];
	const scatterAttributes = [float, ints('Tindices'), ints('Tnumsegments')];
	const lossAttributes = [float, ints('Tlabels')];
	return {
		gatherRows: (x: DeviceTensor, index: DeviceTensor) =>
			run('GatherV2', gatherAttributes, [x, index, constants.integer(0)]),
		scatterRows: (x: DeviceTensor, index: DeviceTensor, rows: number) =>
			run('UnsortedSegmentSum', scatterAttributes, [x, index, constants.integer(rows)]),
		crossEntropy: (logits: DeviceTensor, labels: DeviceTensor) => {
			const [losses, gradient] = runMany('SparseSoftmaxCrossEntropyWithLogits', lossAttributes, [logits, labels], 2);
			return {losses: losses!, gradient: gradient!};
		},
	};
}

/** Small constant tensors by value; the least recently used is freed when there are too many. */
function constantsOf(tf: typeof Tf) {
	const kept = new Map<string, DeviceTensor>();
	const get = (key: string, create: () => DeviceTensor): DeviceTensor => {
		const found = kept.get(key);
		if (found) kept.delete(key);
		const constant = found ?? tf.keep(create());
		kept.set(key, constant);
		if (kept.size > constantsMax) {
			const [oldest] = kept.keys();
			kept.get(oldest!)!.dispose();
			kept.delete(oldest!);
		}
		return constant;
	};
	return {
		vector: (values: readonly number[]) => get(`v${values.join()}`, () => tf.tensor1d([...values], 'int32')),
		integer: (value: number) => get(`i${value}`, () => tf.scalar(value, 'int32')),
		factor: (value: number) => get(`f${value}`, () => tf.scalar(value)),
		count: () => kept.size,
	};
}

type Constants = ReturnType<typeof constantsOf>;
