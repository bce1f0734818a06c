/**
Combines adapters of unlike ranks into one of the largest: zero-padding (HetLoRA, Cho et al., EMNLP 2024) and truncated
products (FlexLoRA, Bai et al., NeurIPS 2024). What a client of a smaller rank takes over is the first part of the result.
*/
import {weightedMean} from './combine.ts';
import {type AdapterTensors, scalingOf} from './lora.ts';
import {atRank, pairOf, projectionsIn, type Scaling, termOf} from './ranks.ts';
import {svdOfProduct} from './svd.ts';

/** `sum weights[i] pad(A_i)` and the same of B, padded with zeros to `rank`. */
export const zeroPadded = (adapters: readonly AdapterTensors[], weights: readonly number[], rank: number) =>
	weightedMean(
		adapters.map(adapter => atRank(adapter, rank)),
		weights,
	);

/** Weights in proportion to `||B_i A_i||` over the whole adapter, which the paper takes as how much an adapter has learnt; they sum to 1. */
export function normWeights(adapters: readonly AdapterTensors[]): number[] {
	const norms = adapters.map(adapter =>
		Math.sqrt(projectionsIn(adapter).reduce((sum, projection) => sum + squaredNorm(adapter, projection), 0)),
	);
	const total = norms.reduce((sum, norm) => sum + norm, 0);
	return norms.map(norm => (total > 0 ? norm / total : 1 / norms.length));
}

/** `||B A||^2 = trace((B^T B) (A A^T))`: two small matrices in place of the product. */
function squaredNorm(adapter: AdapterTensors, projection: string): number {
	const {a, b} = termOf(adapter, projection, 1);
	const [rank, inputs] = a.shape;
	const [outputs] = b.shape;
	let sum = 0;
	for (let p = 0; p < rank; p++) {
		for (let q = 0; q < rank; q++) {
			let [rows, columns] = [0, 0];
			for (let x = 0; x < inputs; x++) rows += a.values[p * inputs + x]! * a.values[q * inputs + x]!;
			for (let y = 0; y < outputs; y++) columns += b.values[y * rank + p]! * b.values[y * rank + q]!;
			sum += rows * columns;
		}
	}
	return sum;
}

/**
The best approximation of `sum weights[i] scaling_i B_i A_i` of a rank (Eckart-Young), over the scaling of that rank; singular
values descend, so its first r rows and columns are the best one of rank r. Both factors take the root of a singular value.
*/
export function truncatedProducts(
	adapters: readonly AdapterTensors[],
	weights: readonly number[],
	{rank, scaling}: {readonly rank: number; readonly scaling: Scaling},
): AdapterTensors {
	const pairs = projectionsIn(adapters[0]!).map(projection => {
		const terms = adapters.map((adapter, index) => {
			const own = adapter[`${projection}.A`]?.shape[0] ?? 0;
			return termOf(adapter, projection, weights[index]! * scalingOf(scaling, own));
		});
		const [inputs, outputs] = [terms[0]!.a.shape[1], terms[0]!.b.shape[0]];
		const left = terms.flatMap(({b, scale}) => {
			const [, own] = b.shape;
			return Array.from({length: own}, (_, inner) =>
				Float64Array.from({length: outputs}, (_value, row) => scale * b.values[row * own + inner]!),
			);
		});
		const right = terms.flatMap(({a: {values, shape}}) =>
			Array.from({length: shape[0]}, (_, inner) =>
				Float64Array.from(values.subarray(inner * inputs, (inner + 1) * inputs)),
			),
		);
		const svd = svdOfProduct(left, right);
		const [a, b] = [new Float32Array(rank * inputs), new Float32Array(outputs * rank)];
		for (let inner = 0; inner < Math.min(rank, svd.sigma.length); inner++) {
			const root = Math.sqrt(svd.sigma[inner]!);
			for (let x = 0; x < inputs; x++) a[inner * inputs + x] = root * svd.right[inner]![x]!;
			const scale = root / scalingOf(scaling, rank);
			for (let y = 0; y < outputs; y++) b[y * rank + inner] = scale * svd.left[inner]![y]!;
		}
		return pairOf(projection, {shape: [rank, inputs], values: a}, {shape: [outputs, rank], values: b});
	});
	return Object.assign({}, ...pairs) as AdapterTensors;
}
