/**
Oort (Lai et al., OSDI 2021): clients of high loss and high speed first, with a share of clients that never took part. Pure.
*/
import type {Selection} from '../../protocols/policies.ts';
import type {Candidate, Choice, ClientStatistics} from './candidates.ts';
import {medianOf} from './round-closing.ts';
import {drawWeighted, selectRandom} from './select-random.ts';

type Oort = Extract<Selection, {kind: 'oort'}>;
type Tried = Candidate & {readonly statistics: ClientStatistics};

const isTried = (candidate: Candidate): candidate is Tried => candidate.statistics !== undefined;

export function selectOort(oort: Oort, able: readonly Candidate[], {round, count}: Choice): readonly Candidate[] {
	const tried = able.filter(isTried);
	const untried = able.filter(candidate => !isTried(candidate));
	const wanted = Math.round(explorationOf(oort, round) * count);
	const explored = Math.max(Math.min(wanted, untried.length), count - tried.length);
	return [...selectRandom(untried, {count: explored}), ...exploit(oort, tried, {round, count: count - explored})];
}

/** The share of clients that are tried for the first time: `0.9 x 0.98^k`, at least 0.3, in round k from 0. */
export const explorationOf = (
	{exploration, explorationDecay, explorationMin}: Pick<Oort, 'exploration' | 'explorationDecay' | 'explorationMin'>,
	round: number,
): number => Math.max(explorationMin, exploration * explorationDecay ** round);

/** By utility, among those that come near the last one of the best `count`. */
function exploit(oort: Oort, tried: readonly Tried[], {round, count}: Choice): readonly Candidate[] {
	if (count <= 0) return [];
	const utilities = utilitiesOf(oort, tried, round);
	const sorted = [...utilities.values()].toSorted((a, b) => b - a);
	const least = oort.cutoff * (sorted[Math.min(count, sorted.length) - 1] ?? 0);
	const near = tried.filter(candidate => utilities.get(candidate)! >= least);
	return drawWeighted(near, count, candidate => Math.max(utilities.get(candidate as Tried)!, Number.MIN_VALUE));
}

/**
`U_i = |B_i| sqrt(mean loss^2) (T / t_i)^(penalty [T < t_i]) + sqrt(0.1 ln R / last_i)`: R is this round and last_i the last one that
i took part in, both from 1 on; t_i its duration then, T the preferred one. `|B_i|` is the client's samples.
*/
export function utilitiesOf(oort: Pick<Oort, 'penalty' | 'preferredMs'>, tried: readonly Tried[], round: number) {
	const durations = tried.flatMap(({statistics}) => statistics.durationMs ?? []);
	const preferredMs = oort.preferredMs ?? (durations.length > 0 ? medianOf(durations) : Number.POSITIVE_INFINITY);
	const utilityOf = ({samples, statistics: {lossSquareMean, durationMs, round: last}}: Tried) => {
		const isSlow = durationMs !== null && preferredMs < durationMs;
		const speed = isSlow ? (preferredMs / durationMs) ** oort.penalty : 1;
		return samples * Math.sqrt(lossSquareMean) * speed + Math.sqrt((0.1 * Math.log(round + 1)) / (last + 1));
	};
	return new Map<Tried, number>(tried.map(candidate => [candidate, utilityOf(candidate)]));
}
