/**
Power of choice (Cho et al., 2020, arXiv 2010.01243), variant rpow-d: the loss of a candidate is the mean it reported when it last
took part, so that choosing costs no message. Pure.
*/
import type {Selection} from '../../protocols/policies.ts';
import type {Candidate, Choice} from './candidates.ts';
import {drawOf, drawWeighted} from './select-random.ts';

/** Draws d candidates by their samples and takes those of the highest loss; who never took part has an infinite one. */
export function selectPowerOfChoice(
	{candidates}: Extract<Selection, {kind: 'power-of-choice'}>,
	able: readonly Candidate[],
	{count}: Choice,
): readonly Candidate[] {
	const drawn = drawWeighted(able, Math.max(candidates, count), ({samples}) => samples);
	return drawn.toSorted((a, b) => byLoss(a, b) || drawOf(a) - drawOf(b)).slice(0, count);
}

const lossOf = ({statistics}: Candidate) => statistics?.lossMean ?? Number.POSITIVE_INFINITY;

/** Infinite losses are alike: their difference is no number. */
const byLoss = (a: Candidate, b: Candidate) => (lossOf(a) === lossOf(b) ? 0 : lossOf(b) - lossOf(a));
