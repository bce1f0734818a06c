/**
What a tensor's values look like in a few numbers. Pure.
*/
import {max, mean, min, standardDeviation} from 'simple-statistics';

const binsMax = 8;

export type TensorFigures = {
	readonly count: number;
	readonly mean: number;
	readonly deviation: number;
	/** Frobenius norm. */
	readonly norm: number;
	readonly least: number;
	readonly largest: number;
	/** How many values lie in each of eight equal parts between the least and the largest. */
	readonly histogram: readonly number[];
	readonly notFinite: number;
};

/** Figures of the finite values; all are 0 when there are none. */
export function figuresOf(values: Float32Array | Int32Array): TensorFigures {
	const finite = Array.from(values).filter(Number.isFinite);
	const notFinite = values.length - finite.length;
	if (finite.length === 0)
		return {count: values.length, mean: 0, deviation: 0, norm: 0, least: 0, largest: 0, histogram: [], notFinite};
	const [least, largest] = [min(finite), max(finite)];
	const width = (largest - least) / binsMax;
	const histogram = Array<number>(width === 0 ? 1 : binsMax).fill(0);
	for (const value of finite)
		histogram[width === 0 ? 0 : Math.min(binsMax - 1, Math.floor((value - least) / width))]!++;
	return {
		count: values.length,
		mean: mean(finite),
		deviation: standardDeviation(finite),
		norm: Math.sqrt(finite.reduce((sum, value) => sum + value * value, 0)),
		least,
		largest,
		histogram,
		notFinite,
	};
}
