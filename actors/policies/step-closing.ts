/**
Whom a step of the main server waits for under the update `parallel`, and when it goes on without them. Pure.
*/
import {planClosing} from './round-closing.ts';

/**
`all` waits for the whole cohort. A `quorum` counts the cohort as the round opened; its deadline runs from when the server is free
and the step's first batch is here. Members it goes on without `drop` the step, or `reuse` the last gradient of their adapter.
*/
export type StepClosing =
	| {readonly kind: 'all'}
	| {
			readonly kind: 'quorum';
			readonly count?: number;
			readonly fraction?: number;
			/** From the first batch, ms. */
			readonly deadlineMs: number;
			readonly missing: 'drop' | 'reuse';
	  };

export type StepArrivals = {
	/** Members when the round opened. */
	readonly cohortSize: number;
	/** Members that are still here. */
	readonly here: number;
	/** Batches of members that wait. */
	readonly arrived: number;
	readonly isDeadlinePast: boolean;
};

/** Whether the step is taken now over who is here; `void`: its quorum can no longer be met, so that it is skipped by all. */
export function planStepClosing(
	closing: StepClosing,
	{cohortSize, here, arrived, isDeadlinePast}: StepArrivals,
): 'wait' | 'close' | 'void' {
	if (here === 0 || arrived === 0) return 'wait';
	return planClosing(closing, {cohort: cohortSize, arrived, gone: cohortSize - here, isDeadlinePast});
}
