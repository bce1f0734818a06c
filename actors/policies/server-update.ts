/**
When the main server takes a step and over whose batches. Pure: descriptions in, a plan out.
*/
import type {CohortMember} from '../../protocols/messages.ts';

/** `parallel` is the paper's: one step over the whole cohort's batches. `sequential` is SplitFed V2: one step a batch, in order of arrival. */
export type ServerUpdate = {readonly kind: 'parallel'} | {readonly kind: 'sequential'};

/** A batch that waits at the main server. */
export type WaitingBatch = {readonly client: string; readonly round: number; readonly step: number};

/** Whose batches the next step is over, with weights that sum to 1. */
export type StepPlan = readonly CohortMember[];

type Situation = {
	readonly round: number;
	readonly cohort: readonly CohortMember[];
	/** In order of arrival. */
	readonly waiting: readonly WaitingBatch[];
};

/** The next step, or nothing while it must wait. */
export function planStep(update: ServerUpdate, {round, cohort, waiting}: Situation): StepPlan | undefined {
	const present = waiting.filter(batch => batch.round === round);
	if (update.kind === 'sequential') {
		const first = present.find(batch => cohort.some(member => member.client === batch.client));
		return first && [{client: first.client, weight: 1}];
	}
	const clients = new Set(present.map(batch => batch.client));
	const isComplete = cohort.length > 0 && cohort.every(member => clients.has(member.client));
	return isComplete ? normalised(cohort) : undefined;
}

/** The members with weights scaled so that they sum to 1; equal weights when all are 0. */
export function normalised(members: readonly CohortMember[]): CohortMember[] {
	const sum = members.reduce((total, member) => total + member.weight, 0);
	return members.map(({client, weight}) => ({client, weight: sum > 0 ? weight / sum : 1 / members.length}));
}
