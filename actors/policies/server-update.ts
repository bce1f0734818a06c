/**
When the main server takes a step and over whose batches. Pure: descriptions in, a plan out. At a round's end `buffered` steps
are over as many batches as can still come.
*/
import type {CohortMember} from '../../protocols/messages.ts';
import type {ServerUpdate, StepClosing} from '../../protocols/step-policies.ts';
import {memberOf} from '../cohort.ts';
import {planStepClosing} from './step-closing.ts';

/** A batch that waits at the main server. */
export type WaitingBatch = {
	readonly client: string;
	readonly round: number;
	readonly step: number;
	/** Server versions since the one its client had seen. */
	readonly staleness: number;
};

/** Whose batches the next step is over, with weights that sum to 1. */
export type StepPlan = readonly CohortMember[];

type Situation = {
	readonly round: number;
	readonly cohort: readonly CohortMember[];
	/** In order of arrival; looked at no further than needed. */
	readonly waiting: Iterable<WaitingBatch>;
	/** How many members have taken all steps of the round: no batch of theirs will come. */
	readonly finished: number;
	/** Whom a `parallel` step waits for; default all. */
	readonly closing?: StepClosing;
	/** Members when the round opened; default those of `cohort`. */
	readonly cohortSize?: number;
	readonly isDeadlinePast?: boolean;
};

type Counts = {
	readonly cohort: number;
	readonly waiting: number;
	readonly finished: number;
	readonly isDeadlinePast?: boolean;
};

/** False while too few batches wait for a step of whatever members: asked at every message, so that it must not look at each. */
export function hasEnough(update: ServerUpdate, {cohort, waiting, finished, isDeadlinePast = false}: Counts): boolean {
	if (update.kind === 'parallel') return cohort > 0 && (waiting >= cohort || (isDeadlinePast && waiting > 0));
	if (update.kind === 'buffered') return waiting >= Math.max(1, Math.min(update.count, cohort - finished));
	return waiting > 0;
}

/** The next step, or nothing while it must wait. */
export function planStep(update: ServerUpdate, situation: Situation): StepPlan | undefined {
	const {round, cohort, waiting, finished, closing = {kind: 'all'}} = situation;
	if (update.kind === 'sequential' || update.kind === 'replicas') {
		const [first] = presentOf({round, cohort, waiting}, 1);
		return first && [{client: first.client, weight: 1}];
	}
	if (update.kind === 'buffered') {
		const wanted = Math.max(1, Math.min(update.count, cohort.length - finished));
		const taken = presentOf({round, cohort, waiting}, wanted);
		return taken.length < wanted ? undefined : normalised(taken.map(batch => discounted(cohort, batch)));
	}
	const present = presentOf({round, cohort, waiting}, cohort.length);
	const {cohortSize = cohort.length, isDeadlinePast = false} = situation;
	const arrivals = {cohortSize, here: cohort.length, arrived: present.length, isDeadlinePast};
	if (planStepClosing(closing, arrivals) !== 'close') return undefined;
	if (present.length === cohort.length) return normalised(cohort);
	const clients = new Set(present.map(({client}) => client));
	return normalised(cohort.filter(({client}) => clients.has(client)));
}

/** The oldest arrivals of the round from members of the cohort, so many at most. */
function presentOf(
	{round, cohort, waiting}: Pick<Situation, 'round' | 'cohort' | 'waiting'>,
	countMax: number,
): WaitingBatch[] {
	const present: WaitingBatch[] = [];
	for (const batch of waiting) {
		if (present.length >= countMax) break;
		if (batch.round === round && memberOf(cohort, batch.client)) present.push(batch);
	}
	return present;
}

const discounted = (cohort: readonly CohortMember[], {client, staleness}: WaitingBatch): CohortMember => ({
	client,
	weight: memberOf(cohort, client)!.weight / Math.sqrt(1 + staleness),
});

/** The members with weights scaled so that they sum to 1; equal weights when all are 0. */
export function normalised(members: readonly CohortMember[]): CohortMember[] {
	const sum = members.reduce((total, member) => total + member.weight, 0);
	return members.map(({client, weight}) => ({client, weight: sum > 0 ? weight / sum : 1 / members.length}));
}
