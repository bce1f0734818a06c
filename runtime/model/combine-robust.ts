/**
Combines adapters so that a few wrong ones do little harm: coordinate-wise median and trimmed mean (Yin et al., ICML 2018), Krum
and multi-Krum (Blanchard et al., NeurIPS 2017), clipped deltas. Every upload counts the same; nothing here is random.
*/
import {weightedMean} from './combine.ts';
import type {AdapterTensors} from './lora.ts';

/** The middle value of each coordinate; the mean of the two middle ones for an even number of adapters. */
export const coordinateMedian = (adapters: readonly AdapterTensors[]): AdapterTensors =>
	coordinateWise(adapters, sorted => {
		const middle = sorted.length >> 1;
		return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
	});

/** The mean of each coordinate without its `trim` smallest and `trim` largest values; needs more than `2 trim` adapters. */
export function trimmedMean(adapters: readonly AdapterTensors[], trim: number): AdapterTensors {
	const kept = adapters.length - 2 * trim;
	if (kept < 1) throw new Error(`Trimming ${trim} from both ends of ${adapters.length} adapters leaves none`);
	return coordinateWise(adapters, sorted => {
		let sum = 0;
		for (let place = trim; place < trim + kept; place++) sum += sorted[place]!;
		return sum / kept;
	});
}

/**
`score_i`: the sum of the squared distances from adapter i to its `n - f - 2` nearest others, f the wrong ones to withstand.
Small is trustworthy. Throws a plain error for `n < 2 f + 3`.
*/
export function krumScores(adapters: readonly AdapterTensors[], byzantine: number): number[] {
	const n = adapters.length;
	if (n < 2 * byzantine + 3) throw new Error(`Krum needs ${2 * byzantine + 3} adapters for f = ${byzantine}, got ${n}`);
	const distances = adapters.map(() => new Array<number>(n).fill(0));
	for (let i = 0; i < n; i++) {
		for (let j = i + 1; j < n; j++) {
			distances[i]![j] = squaredDistance(adapters[i]!, adapters[j]!);
			distances[j]![i] = distances[i]![j]!;
		}
	}
	return distances.map((row, own) => {
		const others = row.filter((_, other) => other !== own).toSorted((a, b) => a - b);
		return others.slice(0, n - byzantine - 2).reduce((sum, distance) => sum + distance, 0);
	});
}

/** The mean of the `count` adapters with the smallest Krum scores; one is Krum itself. Ties go to the earlier adapter. */
export function multiKrum(adapters: readonly AdapterTensors[], byzantine: number, count: number): AdapterTensors {
	const scores = krumScores(adapters, byzantine);
	const order = scores.map((_, index) => index).toSorted((a, b) => scores[a]! - scores[b]! || a - b);
	const chosen = order.slice(0, Math.min(count, adapters.length)).toSorted((a, b) => a - b);
	return weightedMean(
		chosen.map(index => adapters[index]!),
		chosen.map(() => 1 / chosen.length),
	);
}

/** `global + Delta min(1, C / ||Delta||)` with `Delta = adapter - global` over the whole adapter. */
export function clipDelta(adapter: AdapterTensors, global: AdapterTensors, normMax: number): AdapterTensors {
	const norm = Math.sqrt(squaredDistance(adapter, global));
	const scale = norm > normMax ? normMax / norm : 1;
	return weightedMean([adapter, global], [scale, 1 - scale]);
}

function coordinateWise(adapters: readonly AdapterTensors[], pick: (sorted: Float64Array) => number): AdapterTensors {
	const [first] = adapters;
	if (!first) throw new Error('No adapters to combine');
	const column = new Float64Array(adapters.length);
	return Object.fromEntries(
		Object.entries(first).map(([name, {shape, values}]) => {
			const all = adapters.map(adapter => valuesOf(adapter, name, values.length));
			const combined = Float32Array.from(values, (_, place) => {
				for (let index = 0; index < all.length; index++) column[index] = all[index]![place]!;
				return pick(column.sort());
			});
			return [name, {shape, values: combined}];
		}),
	);
}

function squaredDistance(a: AdapterTensors, b: AdapterTensors): number {
	let sum = 0;
	for (const [name, {values}] of Object.entries(a)) {
		const others = valuesOf(b, name, values.length);
		for (let place = 0; place < values.length; place++) sum += (values[place]! - others[place]!) ** 2;
	}
	return sum;
}

function valuesOf(adapter: AdapterTensors, name: string, length: number): Float32Array {
	const values = adapter[name]?.values;
	if (values?.length !== length) throw new Error(`The adapters to combine differ in ${name}`);
	return values;
}
