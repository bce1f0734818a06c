/**
Adapters of another rank, and sums of several as one: rows of A and columns of B put side by side, cut off or filled with zeros.
*/
import {type AdapterTensor, type AdapterTensors, scalingOf} from './lora.ts';

/** A factor pair of one projection and what its product counts with. */
export type Term = {readonly a: AdapterTensor; readonly b: AdapterTensor; readonly scale: number};

/** What a scaling follows from. */
export type Scaling = {readonly alpha: number; readonly isRankStabilised: boolean};

/** The names of the adapted projections, `block.<i>.<projection>`. */
export const projectionsIn = (adapter: AdapterTensors): string[] =>
	Object.keys(adapter)
		.filter(name => name.endsWith('.A'))
		.map(name => name.slice(0, -2));

/** The factors of a projection. Throws a plain error when one is missing. */
export function termOf(adapter: AdapterTensors, projection: string, scale: number): Term {
	const [a, b] = [adapter[`${projection}.A`], adapter[`${projection}.B`]];
	if (!a || !b) throw new Error(`The adapters to combine differ in ${projection}`);
	return {a, b, scale};
}

/** A projection's factors under their names. */
export const pairOf = (projection: string, a: AdapterTensor, b: AdapterTensor): AdapterTensors => ({
	[`${projection}.A`]: a,
	[`${projection}.B`]: b,
});

/** `sum scale B A` as one pair, exactly: A `[sum of ranks, in]`, and B `[out, sum of ranks]`, which takes the scales. */
export function sideBySide(terms: readonly Term[]): {a: AdapterTensor; b: AdapterTensor} {
	const [inputs, outputs] = [terms[0]!.a.shape[1], terms[0]!.b.shape[0]];
	const rank = terms.reduce((sum, {a}) => sum + a.shape[0], 0);
	const a = new Float32Array(rank * inputs);
	const b = new Float32Array(outputs * rank);
	let first = 0;
	for (const term of terms) {
		const own = term.a.shape[0];
		a.set(term.a.values, first * inputs);
		for (let output = 0; output < outputs; output++) {
			for (let inner = 0; inner < own; inner++) {
				b[output * rank + first + inner] = term.scale * term.b.values[output * own + inner]!;
			}
		}
		first += own;
	}
	return {a: {shape: [rank, inputs], values: a}, b: {shape: [outputs, rank], values: b}};
}

/** The first `rank` rows of A and columns of B, zeros where there were fewer; B times `scale`. */
function resized({a, b, scale}: Term, rank: number): {a: AdapterTensor; b: AdapterTensor} {
	const [own, inputs] = a.shape;
	const [outputs] = b.shape;
	const kept = Math.min(own, rank);
	const [rows, columns] = [new Float32Array(rank * inputs), new Float32Array(outputs * rank)];
	rows.set(a.values.subarray(0, kept * inputs));
	for (let output = 0; output < outputs; output++) {
		for (let inner = 0; inner < kept; inner++) {
			columns[output * rank + inner] = scale * b.values[output * own + inner]!;
		}
	}
	return {a: {shape: [rank, inputs], values: rows}, b: {shape: [outputs, rank], values: columns}};
}

/** The adapter cut or filled to `rank`. With `scaling`, B makes up for the other factor, so that what is kept does what it did. */
export function atRank(adapter: AdapterTensors, rank: number, scaling?: Scaling): AdapterTensors {
	const pairs = projectionsIn(adapter).map(projection => {
		const own = adapter[`${projection}.A`]!.shape[0];
		const scale = scaling ? scalingOf(scaling, own) / scalingOf(scaling, rank) : 1;
		const {a, b} = resized(termOf(adapter, projection, scale), rank);
		return pairOf(projection, a, b);
	});
	return Object.assign({}, ...pairs) as AdapterTensors;
}

/** The largest rank of any projection; 0 for no adapter. */
export const rankMax = (adapter: AdapterTensors): number =>
	projectionsIn(adapter).reduce((max, projection) => Math.max(max, adapter[`${projection}.A`]!.shape[0]), 0);
