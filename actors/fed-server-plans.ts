/**
What the fed server decides of its rounds: descriptions of its context for the policies, and what follows from their plans. Pure.
*/
import type {AggregationPlan} from '../protocols/aggregation.ts';
import type {PassInput} from '../protocols/events.ts';
import {entriesOf, entryOf, keysOf, valuesOf, withEntry} from '../protocols/table.ts';
import type {TensorHandle} from '../protocols/tensor.ts';
import {uploadsByRound} from './counted-uploads.ts';
import {type FedServerContext, isCarrying, isOwnPace, isSurveyed, type Upload} from './fed-server-context.ts';
import {isAwaited} from './fed-server-messages.ts';
import {planAggregation} from './policies/aggregation.ts';
import type {Candidate} from './policies/candidates.ts';
import {deadlineOf, invitedOf, planClosing} from './policies/round-closing.ts';
import {drawsRandom, selectCohort} from './policies/selection.ts';
import {sharedWeights} from './shared-blocks.ts';

export const closingOf = ({closing, cohort, uploads, gone, isDeadlinePast}: FedServerContext) =>
	planClosing(closing, {cohort: cohort.length, arrived: uploads.size, gone: gone.length, isDeadlinePast});

/** The uploads of the next aggregation, in an order that does not depend on arrival where all are there at once. */
export function countedNext({carried, cohort, uploads, ...context}: FedServerContext): readonly Upload[] {
	if (isOwnPace(context)) return carried.slice(0, bufferOf(context));
	const late = carried.toSorted((a, b) => (a.client < b.client ? -1 : 1));
	return [...late, ...cohort.flatMap(member => entryOf(uploads, member.client) ?? [])];
}

/** How many uploads an asynchronous aggregation waits for. */
export const bufferOf = ({aggregation}: Pick<FedServerContext, 'aggregation'>): number =>
	aggregation.kind === 'fedbuff' ? aggregation.count : 1;

export const planOf = (context: FedServerContext, uploads: readonly Upload[]): AggregationPlan =>
	planAggregation(
		context.aggregation,
		uploads.map(upload => ({...upload, staleness: context.adapterVersion - upload.baseVersion})),
		context.cohort.length,
	);

/** The pass over the uploads that count: each by its place in the plan, what it began from beside it. */
export function aggregatePass(context: FedServerContext): PassInput {
	const {counting, shared} = context;
	const planned = planOf(context, counting);
	const plan = {...planned, ...sharedWeights(context, planned.members)};
	const tensors: Record<string, TensorHandle> = shared ? {shared} : {};
	const uploadOf = uploadsByRound(counting);
	for (const [index, member] of plan.members.entries()) {
		const upload = uploadOf(member)!;
		tensors[`${index}`] = upload.tensors;
		if (plan.kernel.kind === 'add-changes') tensors[`base${index}`] = upload.base!;
	}
	return {plan, tensors};
}

/** No more uploads count in the round: what is counted is fixed, and who may still come is late. */
export function closedRound(context: FedServerContext) {
	const {round, cohort, adapterVersion, openedAtMs} = context;
	let {late} = context;
	for (const {client} of cohort)
		if (isAwaited(context, client)) late = withEntry(late, client, {round, adapterVersion, openedAtMs});
	return {closedRound: round, late, counting: countedNext(context), carried: []};
}

/** Whether somebody is still at work in a round that closes before its deadline was told. */
export const hasUntold = (context: FedServerContext): boolean =>
	!context.isDeadlinePast && context.cohort.some(({client}) => isAwaited(context, client));

type Survey = {readonly nowMs: number | null; readonly draws: Readonly<Record<string, number>>};

/** What the pass `survey` is asked for. */
export const surveyPass = ({round, roster, selection}: FedServerContext): PassInput => ({
	round: round + 1,
	clients: drawsRandom(selection) ? keysOf(roster) : [],
});

/** The next round. */
export function openedRound(context: FedServerContext, {nowMs, draws}: Survey) {
	const {selection, closing} = context;
	const round = context.round + 1;
	const need = {round, invited: invitedOf(closing)};
	return {
		round,
		cohort: selectCohort(selection, candidatesOf(context, draws), need),
		gone: [],
		openedAtMs: nowMs,
		deadlineMs: deadlineOf(closing, lastDurations(context)) ?? null,
		isDeadlinePast: false,
	};
}

const candidatesOf = ({roster, late, statistics}: FedServerContext, draws: Survey['draws']): Candidate[] =>
	entriesOf(roster).map(([client, {samples, silentChecks}]) => ({
		client,
		samples,
		draw: draws[client] ?? 0,
		isAvailable: silentChecks <= 1 && !entryOf(late, client),
		statistics: entryOf(statistics, client),
	}));

/** The last duration of every client that uploaded in the rounds that the rule looks at. */
function lastDurations({closing, statistics, round}: FedServerContext): number[] {
	if (closing.kind !== 'adaptive') return [];
	return valuesOf(statistics).flatMap(({durationMs, round: last}) =>
		durationMs !== null && last > round - closing.rounds ? [durationMs] : [],
	);
}

/** What an upload tells of its client; nothing is kept where no policy asks for it. */
export function withStatistics(
	context: FedServerContext,
	{client, round, lossMean, lossSquareMean, stepsDone}: Upload,
	{openedAtMs, atMs}: {readonly openedAtMs: number | null; readonly atMs: number | undefined},
): FedServerContext['statistics'] {
	if (!isSurveyed(context)) return context.statistics;
	const before = entryOf(context.statistics, client);
	const durationMs = openedAtMs === null || atMs === undefined ? null : Math.max(0, atMs - openedAtMs);
	const losses = stepsDone > 0 ? {lossMean, lossSquareMean} : before;
	return withEntry(context.statistics, client, {
		lossMean: losses?.lossMean ?? 0,
		lossSquareMean: losses?.lossSquareMean ?? 0,
		durationMs: durationMs ?? before?.durationMs ?? null,
		round,
	});
}

/** What becomes of an upload after its round closed. */
export function takenLate(context: FedServerContext, upload: Upload) {
	return isCarrying(context) && upload.stepsDone > 0 ? [...context.carried, upload] : context.carried;
}
