/**
What the fed server says, and its verdict on uploads that arrive. Pure.
*/
import type {Incoming, Outgoing} from '../protocols/events.ts';
import {entryOf, keysOf} from '../protocols/table.ts';
import {fenced, refusalOf} from './agreement.ts';
import {cohortWithout, memberOf} from './cohort.ts';
import {type FedServerContext, isOwnPace, roundSteps} from './fed-server-context.ts';
import {normalised} from './policies/server-update.ts';

type From = {readonly context: FedServerContext};

/** Why this actor may not come in; nothing when it may. */
export function helloRefusal(context: FedServerContext, {from, body}: Incoming<'hello'>): Outgoing | undefined {
	const mismatch = refusalOf('hello', context.agreement, body.agreement);
	if (mismatch) return {verb: 'refused', to: from, body: mismatch};
	const known = entryOf(context.roster, from)?.incarnation ?? -1;
	return body.incarnation < known ? fenced('hello', from, body.incarnation, known) : undefined;
}

export const welcome = ({round, adapterVersion}: FedServerContext, {from, body}: Incoming<'hello'>): Outgoing => ({
	verb: 'welcome',
	to: from,
	body: {incarnation: body.incarnation, round, adapterVersion, credit: 0},
});

/** The opening of the context's current round; who comes later hears of those that are still in it, their shares made whole. */
export function roundOpened(context: FedServerContext): Extract<Outgoing, {verb: 'round-opened'}> {
	const {round, adapterVersion, adapter, gone} = context;
	const steps = roundSteps(context);
	const present = cohortWithout(context.cohort, gone);
	const cohort = gone.length > 0 ? normalised(present) : [...present];
	return {verb: 'round-opened', body: {round, adapterVersion, steps, cohort, deadlineMs: 0, tensors: adapter!}};
}

/** Whether the round still waits for this client: who left comes in again with the next one. */
export const isAwaited = ({cohort, uploads, gone}: FedServerContext, client: string): boolean =>
	memberOf(cohort, client) !== undefined && !entryOf(uploads, client) && !gone.includes(client);

/** The opening of a round: one message to all, or where clients were chosen one to each of them, and to the watchers. */
export function roundOpenings(context: FedServerContext): Outgoing[] {
	const opened = roundOpened(context);
	if (context.selection.kind === 'all') return [opened];
	const toOne = ({client}: {readonly client: string}) => ({
		...opened,
		to: client,
		body: {...opened.body, cohort: [{client, weight: 1}]},
	});
	return [...context.watchers.map(to => ({...opened, to})), ...opened.body.cohort.map(toOne)];
}

export const roundClosing = ({context}: From): Outgoing => ({verb: 'round-closing', body: {round: context.round}});

export const rosterChanged = (
	roster: FedServerContext['roster'],
	left: readonly string[],
	reason: string,
): Outgoing => ({
	verb: 'roster-changed',
	body: {clients: keysOf(roster), left: [...left], reason},
});

/** `taken` counts in the round, `late` came after its closing. */
type Verdict = {readonly as: 'taken' | 'late' | 'none'; readonly answer: Outgoing};

/** Whether an upload counts, and the answer to it. A repeat, also of a closed round, is accepted again and never counted twice. */
export function judge(context: FedServerContext, {from, body}: Incoming<'upload'>): Verdict {
	const known = entryOf(context.roster, from)?.incarnation;
	if (known !== undefined && body.incarnation < known) {
		return {as: 'none', answer: fenced('upload', from, body.incarnation, known)};
	}
	const accepted: Outgoing = {verb: 'upload-accepted', to: from, body: {round: body.round}};
	const {round, closedRound} = context;
	if (body.round === round && round > closedRound && isAwaited(context, from)) return {as: 'taken', answer: accepted};
	if (body.round <= closedRound) {
		const isLate = entryOf(context.late, from)?.round === body.round;
		return {as: isLate ? 'late' : 'none', answer: accepted};
	}
	if (body.round === round && entryOf(context.uploads, from)) return {as: 'none', answer: accepted};
	return {as: 'none', answer: notInCohort(from, body.round, `round ${round} with this client in its cohort`)};
}

export const notInCohort = (to: string, found: number, expected: string): Outgoing => ({
	verb: 'refused',
	to,
	body: {
		verb: 'upload',
		code: 'not-in-cohort',
		field: 'round',
		found: String(found),
		expected,
		fix: 'wait for the next round',
	},
});

/** A row for an upload that came too late to count. */
export const lateReport = (client: string, round: number): Outgoing => ({
	verb: 'report',
	body: {kind: 'drop', timeMs: 0, row: {verb: 'upload', client, round, reason: 'late'}},
});

/** To somebody whose sign of life comes from outside the roster: its lease ended, or this server never heard its `hello`. */
export const unknownSender = (to: string): Outgoing => ({
	verb: 'refused',
	to,
	body: {
		verb: 'heartbeat',
		code: 'not-in-cohort',
		field: 'client',
		found: to,
		expected: 'a client that said hello',
		fix: 'say hello again',
	},
});

/** One row of `metrics.jsonl` for an aggregation; adapter staleness is measured against the version before it. */
export function roundReport({context}: From): Outgoing {
	const {round, cohort, roster, counting, gone, adapterVersion, aggregation} = context;
	const staleness = counting.map(({baseVersion}) => adapterVersion - 1 - baseVersion);
	const row = {
		round: isOwnPace(context) ? adapterVersion - 1 : round,
		adapterVersion,
		cohort: isOwnPace(context) ? roster.size : cohort.length,
		uploads: counting.length,
		gone: isOwnPace(context) ? '' : gone.join(' '),
		adapterStaleness: staleness.join(' '),
		adapterStalenessMax: Math.max(0, ...staleness),
		// Out of how many the cohort was chosen, for the accountant.
		...(aggregation.kind === 'dp-fedavg' && {roster: Math.max(roster.size, cohort.length)}),
	};
	return {verb: 'report', body: {kind: 'round', timeMs: 0, row}};
}

export const voidReport = ({context: {round, cohort, uploads, gone, adapterVersion}}: From): Outgoing => ({
	verb: 'report',
	body: {
		kind: 'round',
		timeMs: 0,
		row: {
			round,
			adapterVersion,
			cohort: cohort.length,
			uploads: uploads.size,
			gone: gone.join(' '),
			isVoid: true,
		},
	},
});

export const nobodyHasData = ({context}: From): string =>
	`No client can train: ${context.roster.size} of ${context.clientsExpected} joined and none of them has data; give a client rows or add one`;

export const runFinished = ({context}: From): Outgoing => {
	const {round, adapterVersion, adapter, failure} = context;
	const rounds = isOwnPace(context) ? adapterVersion : round + 1;
	return {verb: 'run-finished', body: {rounds, adapterVersion, reason: failure ?? 'done', tensors: adapter!}};
};
