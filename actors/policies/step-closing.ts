/**
Whom a step of the main server waits for under the update `parallel`, and when it goes on without them. Pure.
*/
import type {StepClosing} from '../../protocols/step-policies.ts';
import {planClosing} from './round-closing.ts';

export type StepArrivals = {
	/** Members when the round opened. */
	readonly cohortSize: number;
	/** Members that are still here. */
	readonly here: number;
	/** Batches of members that wait. */
	readonly arrived: number;
	readonly isDeadlinePast: boolean;
};

/**
Whether the step is taken now over who is here; `void`: its quorum can no longer be met, so that it is skipped by all. A quorum
counts the cohort as the round opened; its deadline runs from when the server is free and the step's first batch is here.
*/
export function planStepClosing(
	closing: StepClosing,
	{cohortSize, here, arrived, isDeadlinePast}: StepArrivals,
): 'wait' | 'close' | 'void' {
	if (here === 0 || arrived === 0) return 'wait';
	return planClosing(closing, {cohort: cohortSize, arrived, gone: cohortSize - here, isDeadlinePast});
}
