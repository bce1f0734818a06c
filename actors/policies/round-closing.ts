/**
When a round ends: whom the fed server waits for, and what its deadline means. Pure.
*/

/** `all` waits for the whole cohort (without those that left); a `quorum` is met by a count or a fraction of the cohort. */
export type RoundClosing =
	| {readonly kind: 'all'}
	| {readonly kind: 'quorum'; readonly count?: number; readonly fraction?: number; readonly deadlineMs: number};

type Arrivals = {
	/** The size of the cohort when the round opened. */
	readonly cohort: number;
	readonly arrived: number;
	/** Members that left or whose lease ended, and that did not upload. */
	readonly gone: number;
	readonly isDeadlinePast: boolean;
};

/** How many uploads meet the rule. */
export function quorumOf(closing: RoundClosing, cohort: number): number {
	if (closing.kind === 'all') return cohort;
	const count = closing.count ?? Math.ceil((closing.fraction ?? 1) * cohort);
	return Math.min(Math.max(count, 1), cohort);
}

/**
`close` when all that can come have come, or when the deadline is past and the quorum is met;
`void` once the quorum can never be met (nobody is left, for `all`); else `wait`.
*/
export function planClosing(
	closing: RoundClosing,
	{cohort, arrived, gone, isDeadlinePast}: Arrivals,
): 'wait' | 'close' | 'void' {
	const reachable = cohort - gone;
	const quorum = closing.kind === 'all' ? Math.max(reachable, 1) : quorumOf(closing, cohort);
	if (reachable < quorum) return 'void';
	if (arrived >= reachable) return 'close';
	return isDeadlinePast && arrived >= quorum ? 'close' : 'wait';
}
