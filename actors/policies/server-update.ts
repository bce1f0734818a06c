/**
When the main server takes a step and over whose batches. Pure: descriptions in, a plan out.
*/
import type {CohortMember} from '../../protocols/messages.ts';

/**
`parallel` is the paper's: one step over the whole cohort's batches. `sequential` is SplitFed V2: one step a batch, in order of
arrival. `buffered`: one step over `count` arrivals, whoever they are from, weighted by `p_i / sqrt(1 + staleness)`; at a round's
end over as many as can still come.
*/
export type ServerUpdate =
	| {readonly kind: 'parallel'}
	| {readonly kind: 'sequential'}
	| {readonly kind: 'buffered'; readonly count: number};

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
	/** In order of arrival. */
	readonly waiting: readonly WaitingBatch[];
	/** Members that have taken all steps of the round: no batch of theirs will come. */
	readonly finished: readonly string[];
};

/** The next step, or nothing while it must wait. */
export function planStep(update: ServerUpdate, {round, cohort, waiting, finished}: Situation): StepPlan | undefined {
	const present = waiting.filter(batch => batch.round === round);
	if (update.kind === 'sequential') {
		const first = present.find(batch => cohort.some(member => member.client === batch.client));
		return first && [{client: first.client, weight: 1}];
	}
	if (update.kind === 'buffered') return planBuffer(update.count, cohort, present, finished);
	const clients = new Set(present.map(batch => batch.client));
	const isComplete = cohort.length > 0 && cohort.every(member => clients.has(member.client));
	return isComplete ? normalised(cohort) : undefined;
}

/** The oldest arrivals once there are enough of them. */
function planBuffer(
	count: number,
	cohort: readonly CohortMember[],
	present: readonly WaitingBatch[],
	finished: readonly string[],
): StepPlan | undefined {
	const weights = new Map(cohort.map(({client, weight}) => [client, weight]));
	const arrived = present.filter(({client}) => weights.has(client));
	const possible = cohort.filter(({client}) => !finished.includes(client)).length;
	const wanted = Math.min(count, possible);
	if (arrived.length === 0 || arrived.length < wanted) return undefined;
	const taken = arrived.slice(0, Math.max(wanted, 1));
	return normalised(
		taken.map(({client, staleness}) => ({client, weight: weights.get(client)! / Math.sqrt(1 + staleness)})),
	);
}

/** The members with weights scaled so that they sum to 1; equal weights when all are 0. */
export function normalised(members: readonly CohortMember[]): CohortMember[] {
	const sum = members.reduce((total, member) => total + member.weight, 0);
	return members.map(({client, weight}) => ({client, weight: sum > 0 ? weight / sum : 1 / members.length}));
}
