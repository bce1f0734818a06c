/**
Combines adapters tensor by tensor, as a plan of the aggregation policies says.
*/
import type {AdapterTensors} from './lora.ts';

/**
`sum weights[i] adapters[i]`, A and B apart, summed in double; the weights are used as given (a mean when they sum to 1).
All adapters have the same names and shapes.
*/
export function weightedMean(adapters: readonly AdapterTensors[], weights: readonly number[]): AdapterTensors {
	const [first] = adapters;
	if (!first || adapters.length !== weights.length)
		throw new Error(`${adapters.length} adapters and ${weights.length} weights`);
	const combined: AdapterTensors = {};
	for (const [name, {shape}] of Object.entries(first)) {
		const sums = new Float64Array(shape[0] * shape[1]);
		for (const [index, adapter] of adapters.entries()) addScaled(sums, adapter[name]?.values, weights[index]!, name);
		combined[name] = {shape, values: Float32Array.from(sums)};
	}
	return combined;
}

/** A copy of some blocks that counts in them with weights of its own. */
export type Copy = {
	readonly copy: AdapterTensors;
	readonly weights: readonly {readonly from: number; readonly to: number; readonly weight: number}[];
};

/**
`weightedMean` where adapters hold unlike numbers of blocks: each matrix is the sum over those that have it and the copy. The weights
of a block sum to 1. Throws a plain error when the copy lacks a block that it counts in.
*/
export function meanByBlock(
	adapters: readonly AdapterTensors[],
	weights: readonly number[],
	{copy, weights: shares}: Copy,
): AdapterTensors {
	const all: AdapterTensors = Object.assign({}, copy, ...adapters);
	const combined: AdapterTensors = {};
	for (const [name, {shape}] of Object.entries(all)) {
		const block = Number(name.split('.')[1]);
		const sums = new Float64Array(shape[0] * shape[1]);
		for (const [index, adapter] of adapters.entries())
			if (adapter[name]) addScaled(sums, adapter[name].values, weights[index]!, name);
		const share = shares.find(({from, to}) => from <= block && block < to)?.weight ?? 0;
		if (share > 0) addScaled(sums, copy[name]?.values, share, name);
		combined[name] = {shape, values: Float32Array.from(sums)};
	}
	return combined;
}

function addScaled(sums: Float64Array, values: Float32Array | undefined, weight: number, name: string): void {
	if (values?.length !== sums.length) throw new Error(`The adapters to combine differ in ${name}`);
	for (let index = 0; index < sums.length; index++) sums[index]! += weight * values[index]!;
}
