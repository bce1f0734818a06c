/**
Selects clients at random, each alike (McMahan et al., AISTATS 2017), and draws some by a weight. Pure.
*/
import type {Candidate, Choice} from './candidates.ts';

/** The `count` clients whose numbers are smallest: any set of so many is as likely as any other. */
export const selectRandom = (able: readonly Candidate[], {count}: Pick<Choice, 'count'>): readonly Candidate[] =>
	able.toSorted((a, b) => drawOf(a) - drawOf(b)).slice(0, count);

/**
`count` clients without replacement, each draw by the weights of those left: the largest `u^(1 / weight)` (Efraimidis and
Spirakis, Inf. Process. Lett. 97, 2006). Weights are positive.
*/
export function drawWeighted(
	able: readonly Candidate[],
	count: number,
	weightOf: (candidate: Candidate) => number,
): readonly Candidate[] {
	// The logarithm of the key: u^(1 / weight) itself rounds to 1 for large weights.
	const keyOf = (candidate: Candidate) => Math.log(drawOf(candidate)) / weightOf(candidate);
	const keys = new Map(able.map(candidate => [candidate, keyOf(candidate)]));
	return able.toSorted((a, b) => Math.sign(keys.get(b)! - keys.get(a)!) || 0).slice(0, count);
}

/** Uniform in [0, 1). */
export const drawOf = ({draw = 0}: Candidate): number => draw;
