/**
Asynchronous rounds: every client is given the newest adapter by itself, in rounds that it alone counts, and goes on as soon as
its upload came. What is said to it, and the verdict on its uploads. Pure.
*/
import type {Incoming, Outgoing} from '../protocols/events.ts';
import {entriesOf, entryOf, keysOf, withEntry} from '../protocols/table.ts';
import {fenced} from './agreement.ts';
import type {Assignment, FedServerContext, Upload} from './fed-server-context.ts';
import {notInCohort} from './fed-server-messages.ts';
import {selectAll} from './policies/selection.ts';

/** The assignment a client works on. */
export function openAssignment({assignments}: FedServerContext, client: string): Assignment | undefined {
	const assignment = entryOf(assignments, client);
	return assignment?.adapter ? assignment : undefined;
}

type Opening = Extract<Outgoing, {verb: 'round-opened'}>;

const opening = (context: FedServerContext, to: string, assignment: Assignment, cohort: Opening['body']['cohort']) => {
	const {round, adapterVersion, adapter} = assignment;
	const steps = Math.min(context.stepsPerRound, context.stepsTotal);
	const body = {round, adapterVersion, steps, cohort, deadlineMs: 0, tensors: adapter!};
	return {verb: 'round-opened', to, body} as const satisfies Opening;
};

/** The opening of a client's own round, to it. */
export const assignmentOpened = (context: FedServerContext, client: string, assignment: Assignment): Outgoing =>
	opening(context, client, assignment, [{client, weight: 1}]);

/** The newest version and all who train, with p_i: to the main server or an evaluator. */
export function versionOpened(context: FedServerContext, to: string): Outgoing {
	const {adapterVersion, adapter, roster} = context;
	const cohort = selectAll(entriesOf(roster).map(([client, {samples}]) => ({client, samples})));
	return opening(context, to, {round: adapterVersion, adapterVersion, adapter}, cohort);
}

/** Gives every idle client the newest adapter, in a round of its own; watchers hear of a version once. */
export function assignIdle(context: FedServerContext): {
	readonly after: Pick<FedServerContext, 'assignments' | 'idle' | 'toldVersion'>;
	readonly messages: readonly Outgoing[];
} {
	const {adapterVersion, adapter, idle, toldVersion, watchers} = context;
	let {assignments} = context;
	const messages = toldVersion < adapterVersion ? watchers.map(to => versionOpened(context, to)) : [];
	for (const client of idle) {
		const round = (entryOf(assignments, client)?.round ?? -1) + 1;
		const assignment = {round, adapterVersion, adapter};
		assignments = withEntry(assignments, client, assignment);
		messages.push(assignmentOpened(context, client, assignment));
	}
	return {after: {assignments, idle: [], toldVersion: adapterVersion}, messages};
}

/** All that was said of what is still open, once more. */
export const openingsAgain = (context: FedServerContext): Outgoing[] => [
	...context.watchers.map(to => versionOpened(context, to)),
	...keysOf(context.assignments).flatMap(client => {
		const assignment = openAssignment(context, client);
		return assignment ? [assignmentOpened(context, client, assignment)] : [];
	}),
];

type Verdict = {readonly taken?: Upload; readonly answer: Outgoing};

/** Whether an upload counts, and the answer to it; a repeat is accepted again and counts once. */
export function judgeOwnPace(context: FedServerContext, {from, body}: Incoming<'upload'>): Verdict {
	const known = entryOf(context.roster, from)?.incarnation;
	if (known !== undefined && body.incarnation < known) return {answer: fenced('upload', from, body.incarnation, known)};
	const last = entryOf(context.assignments, from);
	const accepted: Outgoing = {verb: 'upload-accepted', to: from, body: {round: body.round}};
	if (!last || body.round > last.round)
		return {answer: notInCohort(from, body.round, last ? `at most round ${last.round}` : 'a client with a round')};
	if (body.round < last.round || !last.adapter) return {answer: accepted};
	return {taken: {...body, client: from, baseVersion: last.adapterVersion, base: last.adapter}, answer: accepted};
}

/** An assignment that is over: its round stays known, so that the next one is newer. */
export const closedAssignment = (context: FedServerContext, client: string): FedServerContext['assignments'] => {
	const last = entryOf(context.assignments, client);
	return last ? withEntry(context.assignments, client, {...last, adapter: null}) : context.assignments;
};
