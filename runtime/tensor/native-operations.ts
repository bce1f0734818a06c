/**
How raw TensorFlow operations are called through the Node backend, and the small constant tensors they take. No arithmetic of its own.
*/
import type * as Tf from '@tensorflow/tfjs';
import type {DeviceTensor} from './kernels.ts';

/** What is used of TensorFlow.js' Node backend, which its types do not show. */
export type NodeBackend = {
	readonly binding: {
		readonly TF_FLOAT: number;
		readonly TF_INT32: number;
		readonly TF_COMPLEX64: number;
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

/** Typed ways to call operations whose attributes are prepared once. */
export function operationsOf(backend: NodeBackend) {
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
		complexes: binding.TF_COMPLEX64,
		unary: (name: string) => (x: DeviceTensor) => run(name, onlyFloat, [x]),
		binary: (name: string, dtype = binding.TF_FLOAT) => {
			const attributes = [type('T', dtype)];
			return (a: DeviceTensor, b: DeviceTensor) => run(name, attributes, [a, b]);
		},
		products: (name: string, flagA: string, flagB: string) => {
			const of = (a: boolean, b: boolean) => [float, flag(flagA, a), flag(flagB, b)];
			const attributes = [of(false, false), of(true, false), of(false, true), of(true, true)];
			return (a: DeviceTensor, b: DeviceTensor, transposeA = false, transposeB = false) =>
				run(name, attributes[(transposeA ? 1 : 0) + (transposeB ? 2 : 0)]!, [a, b]);
		},
	};
}

export type Operations = ReturnType<typeof operationsOf>;

/** Small constant tensors by value; the least recently used is freed when there are too many. */
export function constantsOf(tf: typeof Tf) {
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

export type Constants = ReturnType<typeof constantsOf>;
