/**
When a round ends: whom the fed server waits for, and what its deadline means. Pure.
*/
import type {RoundClosing} from '../../protocols/policies.ts';
import {wholeShare} from '../../protocols/quorum.ts';

type Arrivals = {
	/** The size of the cohort when the round opened. */
	readonly cohort: number;
	readonly arrived: number;
	/** Members that left or whose lease ended, and that did not upload. */
	readonly gone: number;
	readonly isDeadlinePast: boolean;
};

type Rule = {readonly kind: string; readonly count?: number; readonly fraction?: number};

/** How many uploads meet the rule. */
export function quorumOf(closing: Rule, cohort: number): number {
	if (closing.kind === 'all') return cohort;
	const count = closing.count ?? wholeShare(closing.fraction ?? 1, cohort);
	return Math.min(Math.max(count, 1), cohort);
}

/**
`close` when all that can come have come, when the deadline is past and the quorum is met, or under `overselect` once the quorum
is met; `void` once the quorum can never be met (nobody is left, for `all`); else `wait`.
*/
export function planClosing(
	closing: Rule,
	{cohort, arrived, gone, isDeadlinePast}: Arrivals,
): 'wait' | 'close' | 'void' {
	const reachable = cohort - gone;
	const quorum = closing.kind === 'all' ? Math.max(reachable, 1) : quorumOf(closing, cohort);
	if (reachable < quorum) return 'void';
	if (arrived >= reachable) return 'close';
	const isDue = closing.kind === 'overselect' || isDeadlinePast;
	return isDue && arrived >= quorum ? 'close' : 'wait';
}

/** How many clients a rule wants in a cohort; nothing when it leaves that to the selection. */
export const invitedOf = (closing: RoundClosing): number | undefined =>
	closing.kind === 'overselect' ? wholeShare(closing.factor, closing.count) : undefined;

/** The deadline of a round after its opening, ms; nothing where there is none. `durationsMs` are those of the last rounds. */
export function deadlineOf(closing: RoundClosing, durationsMs: readonly number[]): number | undefined {
	if (closing.kind === 'quorum') return closing.deadlineMs;
	if (closing.kind !== 'adaptive') return undefined;
	if (durationsMs.length === 0) return closing.firstDeadlineMs;
	const median = medianOf(durationsMs);
	return median + closing.k * medianOf(durationsMs.map(duration => Math.abs(duration - median)));
}

/** The middle value, the mean of the two middle ones of an even number. */
export function medianOf(values: readonly number[]): number {
	const sorted = values.toSorted((a, b) => a - b);
	const half = sorted.length >> 1;
	return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}
