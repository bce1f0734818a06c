/**
What the main server's copy of a block counts with, where clients have unlike cuts: it stands for the clients that do not hold the
block, with their weights. Pure.
*/
import type {SharedWeight} from '../../protocols/aggregation.ts';
import {stretchesBetween} from '../../protocols/cuts.ts';

/** A member of an aggregation, whose weights sum to 1, and its cut. */
export type CutMember = {readonly weight: number; readonly cut: number};

/** The weights of the copies from one cut to the next; `cuts` ascend. */
export const planShared = (cuts: readonly number[], members: readonly CutMember[]): SharedWeight[] =>
	stretchesBetween(cuts).map(({from, to}) => ({
		from,
		to,
		weight: members.filter(({cut}) => cut <= from).reduce((sum, {weight}) => sum + weight, 0),
	}));
