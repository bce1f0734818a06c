/**
The learning rate of a step, from the schedule a scenario states.
*/

/** Rates are a step; steps are the owner's own updates. */
export type Schedule =
	| {readonly kind: 'constant'; readonly lr: number}
	| {
			readonly kind: 'linear';
			/** The peak, reached when the warm-up ends. */
			readonly lr: number;
			readonly warmupSteps: number;
			/** The rate is 0 from here on. */
			readonly totalSteps: number;
			/** True: the first step has rate 0, as in Hugging Face's schedules (default); false: every step is taken one later. */
			readonly isFirstStepZero?: boolean;
	  };

/** The learning rate of step 0, 1, ...: linear warm-up to `lr`, then linear decay to 0 at `totalSteps`. */
export function learningRateAt(schedule: Schedule, step: number): number {
	if (schedule.kind === 'constant') return schedule.lr;
	const {lr, warmupSteps, totalSteps, isFirstStepZero = true} = schedule;
	const at = isFirstStepZero ? step : step + 1;
	if (at < warmupSteps) return (lr * at) / warmupSteps;
	return lr * Math.max(0, (totalSteps - at) / Math.max(1, totalSteps - warmupSteps));
}
