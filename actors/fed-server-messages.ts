/**
What the fed server says, and its verdict on uploads that arrive. Pure.
*/
import type {Incoming, Outgoing} from '../protocols/events.ts';
import {entryOf, keysOf, valuesOf} from '../protocols/table.ts';
import {fenced, refusalOf} from './agreement.ts';
import {cohortWithout, memberOf} from './cohort.ts';
import {type FedServerContext, roundSteps, type Upload} from './fed-server-context.ts';
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

export const roundOpening = ({context}: From): Outgoing => roundOpened(context);
export const roundClosing = ({context}: From): Outgoing => ({verb: 'round-closing', body: {round: context.round}});

export const rosterChanged = (
	roster: FedServerContext['roster'],
	left: readonly string[],
	reason: string,
): Outgoing => ({
	verb: 'roster-changed',
	body: {clients: keysOf(roster), left: [...left], reason},
});

type Verdict = {readonly isTaken: boolean; readonly answer: Outgoing};

/** Whether an upload counts, and the answer to it. A repeat, also of a closed round, is accepted again and never counted twice. */
export function judge(context: FedServerContext, {from, body}: Incoming<'upload'>): Verdict {
	const known = entryOf(context.roster, from)?.incarnation;
	if (known !== undefined && body.incarnation < known) {
		return {isTaken: false, answer: fenced('upload', from, body.incarnation, known)};
	}
	const accepted: Outgoing = {verb: 'upload-accepted', to: from, body: {round: body.round}};
	if (body.round < context.round || entryOf(context.uploads, from)) return {isTaken: false, answer: accepted};
	if (body.round === context.round && isAwaited(context, from)) return {isTaken: true, answer: accepted};
	if (body.round === context.round && context.cohort.length === 0) return {isTaken: false, answer: accepted};
	return {
		isTaken: false,
		answer: {
			verb: 'refused',
			to: from,
			body: {
				verb: 'upload',
				code: 'not-in-cohort',
				field: 'round',
				found: String(body.round),
				expected: `round ${context.round} with this client in its cohort`,
				fix: 'wait for the next round',
			},
		},
	};
}

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

/** One row of `metrics.jsonl` for a closed round; adapter staleness is measured against the version before this aggregation. */
export function roundReport({context}: From): Outgoing {
	const {round, cohort, uploads, gone, adapterVersion} = context;
	const staleness = (upload: Upload) => adapterVersion - 1 - upload.adapterVersion;
	const row = {
		round,
		adapterVersion,
		cohort: cohort.length,
		uploads: uploads.size,
		gone: gone.join(' '),
		adapterStalenessMax: Math.max(0, ...valuesOf(uploads).map(staleness)),
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

export const runFinished = ({context: {round, adapterVersion, adapter, failure}}: From): Outgoing => ({
	verb: 'run-finished',
	body: {rounds: round + 1, adapterVersion, reason: failure ?? 'done', tensors: adapter!},
});
