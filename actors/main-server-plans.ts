/**
What the main server decides of its steps: descriptions of its context for the policies, and what follows from their plans. Pure.
*/
import {entryOf, mapTable, withEntry, withoutEntries} from '../protocols/table.ts';
import {memberOf} from './cohort.ts';
import type {MainServerContext, Replica, Reply} from './main-server-context.ts';
import {hasEnough, normalised, planStep, type StepPlan, type WaitingBatch} from './policies/server-update.ts';
import {planStepClosing} from './policies/step-closing.ts';

/** The batches of the inbox in order of arrival. */
function* inOrder(context: MainServerContext): Iterable<WaitingBatch> {
	const {inbox, queue, oldestArrival, arrivals, serverVersion, isOwnPace} = context;
	for (let arrival = oldestArrival; arrival < arrivals; arrival++) {
		const client = entryOf(queue, `${arrival}`);
		if (client === undefined) continue;
		const {round, step, serverVersionSeen} = entryOf(inbox, client)!;
		yield {
			client,
			round: isOwnPace ? context.round : round,
			step,
			staleness: Math.max(0, serverVersion - serverVersionSeen),
		};
	}
}

export const nextPlan = (context: MainServerContext): StepPlan | undefined => {
	const {update, round, cohort, cohortSize, inbox, finished, isDeadlinePast, stepClosing: closing} = context;
	if (context.isRoundClosed) return undefined;
	if (!hasEnough(update, {cohort: cohort.length, waiting: inbox.size, finished, isDeadlinePast})) return undefined;
	return planStep(update, {round, cohort, waiting: inOrder(context), finished, closing, cohortSize, isDeadlinePast});
};

/** What the step pass needs of each batch, in the plan's order. */
export const partsOf = ({plan, inbox, agreement, cuts}: MainServerContext) =>
	plan.map(({client, weight}) => {
		const {lengths, targets, round, step} = entryOf(inbox, client)!;
		return {client, weight, lengths, targets, round, step, ...(agreement.cuts && {cut: entryOf(cuts, client)})};
	});

/** Batches of the open round that wait, of members that are still here. */
export const waitingMembers = (context: MainServerContext): readonly string[] =>
	[...inOrder(context)]
		.filter(batch => batch.round === context.round && memberOf(context.cohort, batch.client))
		.map(batch => batch.client);

/** A quorum that those who are here can no longer make up. */
export const isStepVoid = (context: MainServerContext): boolean => {
	const {update, stepClosing, cohort, cohortSize, isDeadlinePast} = context;
	if (update.kind !== 'parallel' || stepClosing.kind === 'all' || context.inbox.size === 0) return false;
	const arrivals = {cohortSize, here: cohort.length, arrived: waitingMembers(context).length, isDeadlinePast};
	return planStepClosing(stepClosing, arrivals) === 'void';
};

const untouched: Replica = {updates: 0, accumulated: 0, isMoved: false};

/** The copy that the step under way trains, under `replicas`. */
const replicaOf = ({update, plan, replicas}: MainServerContext): Replica | undefined =>
	update.kind === 'replicas' ? (entryOf(replicas, plan[0]!.client) ?? untouched) : undefined;

/** Whose copy a pass is about, under `replicas`. */
export const replicaIn = ({update, plan}: MainServerContext) =>
	update.kind === 'replicas' ? {replica: plan[0]!.client} : {};

/** Position of the step under way in the schedule: a copy counts its own updates. */
export const optimizerStepOf = (context: MainServerContext) => replicaOf(context)?.updates ?? context.serverVersion;

/** Gradients are applied every `accumulation` steps and at the round's last one. */
export const isApplied = (context: MainServerContext) => {
	const {accumulation, plan, inbox, steps, update} = context;
	const step = Math.max(...plan.map(({client}) => entryOf(inbox, client)!.step));
	const isLast = (update.kind === 'parallel' || update.kind === 'replicas') && step + 1 >= steps;
	const accumulated = replicaOf(context)?.accumulated ?? context.accumulated;
	return accumulated + 1 >= accumulation || isLast;
};

type Inbox = Pick<MainServerContext, 'inbox' | 'queue' | 'oldestArrival'>;

/** The inbox without the batches of these clients. */
export function inboxWithout(
	{inbox, queue, oldestArrival, arrivals}: MainServerContext,
	clients: readonly string[],
): Inbox {
	const gone = clients.flatMap(client => entryOf(inbox, client)?.arrival ?? []);
	const left = withoutEntries(queue, gone.map(String));
	let oldest = oldestArrival;
	while (oldest < arrivals && entryOf(left, `${oldest}`) === undefined) oldest++;
	return {inbox: withoutEntries(inbox, clients), queue: left, oldestArrival: oldest};
}

const isFinished = ({round, steps}: Pick<MainServerContext, 'round' | 'steps'>, reply: Reply | undefined) =>
	reply !== undefined && reply.round === round && reply.step + 1 >= steps;

export const isFinishedMember = (context: MainServerContext, reply: Reply) =>
	isFinished(context, reply) && memberOf(context.cohort, reply.client) !== undefined;

/** A cohort that somebody has left. */
export const narrowed = (context: MainServerContext, cohort: MainServerContext['cohort']) => ({
	cohort,
	finished: cohort.filter(({client}) => isFinished(context, entryOf(context.replies, client))).length,
});

/** The copies that moved in the round that is over, with the p_i of those that are still here; nobody's when all left. */
export const roundEnd = ({cohort, replicas, averaging}: MainServerContext) => {
	const moved = cohort.filter(({client}) => entryOf(replicas, client)?.isMoved);
	return {
		averaging: moved.length > 0 ? normalised(moved) : averaging,
		replicas: replicas.size === 0 ? replicas : mapTable(replicas, replica => ({...replica, isMoved: false})),
	};
};

export function steppedReplicas(context: MainServerContext, isApplied: boolean): MainServerContext['replicas'] {
	const replica = replicaOf(context);
	if (!replica) return context.replicas;
	const {updates, accumulated} = replica;
	const next = isApplied ? {updates: updates + 1, accumulated: 0} : {updates, accumulated: accumulated + 1};
	return withEntry(context.replicas, context.plan[0]!.client, {...next, isMoved: true});
}
