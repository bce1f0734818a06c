/**
What a run adds to the frozen weights: a delta `B A` of each adapted projection, with scaling 1, over a base that stays as it is.
FLoRA (Wang et al., NeurIPS 2024) and FedEx-LoRA (Singhal et al., 2024) put there what an adapter of the clients' rank cannot hold.
*/
import {weightedMean} from './combine.ts';
import {type AdapterTensors, scalingOf} from './lora.ts';
import {atRank, pairOf, projectionsIn, rankMax, type Scaling, sideBySide, type Term, termOf} from './ranks.ts';

/** `sum weights[i] scaling_i B_i A_i`, exactly, as a delta (FLoRA). */
export const stacked = (adapters: readonly AdapterTensors[], weights: readonly number[], scaling: Scaling) =>
	deltaOf(adapters[0]!, projection => termsOf(adapters, weights, scaling, projection));

/** The mean of A and of B, and what the mean of the products has beyond their product (FedEx-LoRA). All of one rank. */
export function meanAndResidual(
	adapters: readonly AdapterTensors[],
	weights: readonly number[],
	scaling: Scaling,
): {readonly mean: AdapterTensors; readonly residual: AdapterTensors} {
	const mean = weightedMean(adapters, weights);
	const residual = deltaOf(mean, projection => [
		...termsOf(adapters, weights, scaling, projection),
		...termsOf([mean], [-1], scaling, projection),
	]);
	return {mean, residual};
}

/** Both deltas as one. It grows with every round until its rank is that of a full matrix, and no further. */
export function addedDelta(before: AdapterTensors | undefined, delta: AdapterTensors): AdapterTensors {
	const sum = before
		? deltaOf(delta, projection => [termOf(before, projection, 1), termOf(delta, projection, 1)])
		: delta;
	return Object.assign({}, ...projectionsIn(sum).map(projection => bounded(sum, projection))) as AdapterTensors;
}

/** Adapter and delta as one adapter of a higher rank that does the same with the scaling of that rank. */
export function withDelta(adapter: AdapterTensors, delta: AdapterTensors, scaling: Scaling): AdapterTensors {
	const one = deltaOf(adapter, projection => [
		...termsOf([adapter], [1], scaling, projection),
		...(delta[`${projection}.A`] ? [termOf(delta, projection, 1)] : []),
	]);
	const rank = rankMax(one);
	const factor = 1 / scalingOf(scaling, rank);
	const padded = atRank(one, rank);
	for (const projection of projectionsIn(padded)) {
		const {values} = padded[`${projection}.B`]!;
		for (let place = 0; place < values.length; place++) values[place]! *= factor;
	}
	return padded;
}

function deltaOf(like: AdapterTensors, terms: (projection: string) => readonly Term[]): AdapterTensors {
	const pairs = projectionsIn(like).map(projection => {
		const {a, b} = sideBySide(terms(projection));
		return pairOf(projection, a, b);
	});
	return Object.assign({}, ...pairs) as AdapterTensors;
}

const termsOf = (
	adapters: readonly AdapterTensors[],
	weights: readonly number[],
	scaling: Scaling,
	projection: string,
): Term[] =>
	adapters.map((adapter, index) => {
		const rank = adapter[`${projection}.A`]?.shape[0] ?? 0;
		return termOf(adapter, projection, weights[index]! * scalingOf(scaling, rank));
	});

/** With a rank of the smaller side or more: the full matrix as one factor and the identity as the other, which is the same delta. */
function bounded(delta: AdapterTensors, projection: string): AdapterTensors {
	const {a, b} = termOf(delta, projection, 1);
	const [rank, inputs] = a.shape;
	const [outputs] = b.shape;
	const full = Math.min(inputs, outputs);
	if (rank <= full) return pairOf(projection, a, b);
	const product = new Float32Array(outputs * inputs);
	const row = new Float64Array(inputs);
	for (let output = 0; output < outputs; output++) {
		row.fill(0);
		for (let inner = 0; inner < rank; inner++) {
			const factor = b.values[output * rank + inner]!;
			for (let input = 0; input < inputs; input++) row[input]! += factor * a.values[inner * inputs + input]!;
		}
		product.set(row, output * inputs);
	}
	const whole = {shape: [outputs, inputs] as const, values: product};
	const identity = {shape: [full, full] as const, values: new Float32Array(full * full)};
	for (let place = 0; place < full; place++) identity.values[place * full + place] = 1;
	return full === inputs ? pairOf(projection, identity, whole) : pairOf(projection, whole, identity);
}
