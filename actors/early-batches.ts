/**
Where a client may have several batches on their way: those whose turn has not come, and the answers before a client's last. Pure.

The inbox has each client's next batch alone, so that steps are planned as where one is on its way. The order of arrival stays.
*/
import {entryOf, keysOf, withEntry, withoutEntries} from '../protocols/table.ts';
import type {MainServerContext, Pending, Reply} from './main-server-context.ts';
import {inboxWithout} from './main-server-plans.ts';

type Key = {readonly round: number; readonly step: number};
type Inbox = Partial<Pick<MainServerContext, 'inbox' | 'queue' | 'oldestArrival' | 'early'>>;

const isSame = (a: Key, b: Key) => a.round === b.round && a.step === b.step;
const isBefore = (a: Key, b: Key) => a.round < b.round || (a.round === b.round && a.step < b.step);

/** The step of a round that a client's next batch is for. */
function turnOf({update, round, nextStep, replies}: MainServerContext, client: string, of: number): number {
	if (update.kind === 'parallel') return of === round ? nextStep : 0;
	const reply = entryOf(replies, client);
	return reply?.round === of ? reply.step + 1 : 0;
}

const earlyOf = ({early}: MainServerContext, client: string): readonly Pending[] =>
	(early && entryOf(early, client)) ?? [];

/** A batch that waits for its turn already. */
export const isWaitingEarly = (context: MainServerContext, client: string, key: Key): boolean =>
	earlyOf(context, client).some(batch => isSame(batch, key));

/** As many wait as may be on their way, and it is not the turn of this one. */
export const isOverCredit = (context: MainServerContext, client: string, {round, step}: Key): boolean =>
	earlyOf(context, client).filter(batch => batch.round >= round).length >= context.credit &&
	step !== turnOf(context, client, round);

/** An answer before the last one that is still kept. */
export const earlierReply = (
	{earlierReplies}: MainServerContext,
	client: string,
	key: Key & {readonly incarnation: number},
): Reply | undefined =>
	earlierReplies &&
	entryOf(earlierReplies, client)?.find(reply => reply.incarnation === key.incarnation && isSame(reply, key));

/** Under `replicas`: updates of a client's copy since the version it has seen; its answers told of each. */
export function versionsSince(context: MainServerContext, client: string, seen: number): number {
	const {replies, replicas, earlierReplies} = context;
	if (seen === 0) return entryOf(replicas, client)?.updates ?? 0;
	const last = entryOf(replies, client);
	const before = (earlierReplies && entryOf(earlierReplies, client)) ?? [];
	const versions = [...before, ...(last ? [last] : [])].map(({serverVersion}) => serverVersion);
	return new Set(versions.filter(version => version > seen)).size;
}

/** The inbox and those waiting with a batch that came, each in its place. */
export function withArrival(context: MainServerContext, batch: Pending): Inbox {
	const {client, round} = batch;
	const waiting = entryOf(context.inbox, client);
	const isOld = waiting !== undefined && waiting.round < round;
	const kept = isOld ? inboxWithout(context, [client]) : {inbox: context.inbox, queue: context.queue};
	const later = earlyOf(context, client).filter(other => other.round >= round);
	if (batch.step === turnOf(context, client, round))
		return {
			...kept,
			inbox: withEntry(kept.inbox, client, batch),
			queue: withEntry(kept.queue, `${batch.arrival}`, client),
			early: withEntry(context.early!, client, later),
		};
	const sorted = [...later, batch].toSorted((a, b) => (isBefore(a, b) ? -1 : 1));
	return {...kept, early: withEntry(context.early!, client, sorted)};
}

/** Batches whose turn has come, into the inbox; what is behind its turn is forgotten, its client hears so when it sends it again. */
export function promoted(context: MainServerContext, clients: readonly string[]): Inbox {
	let {inbox, queue, oldestArrival, early} = context;
	for (const client of context.update.kind === 'parallel' ? keysOf(early!) : clients) {
		const waiting = earlyOf(context, client);
		const [first, ...later] = waiting.filter(({round, step}) => step >= turnOf(context, client, round));
		const isTurn = first?.step === turnOf(context, client, first?.round ?? 0) && !entryOf(inbox, client);
		const left = isTurn ? later : first ? [first, ...later] : [];
		if (left.length !== waiting.length) early = withEntry(early!, client, left);
		if (!first || !isTurn) continue;
		inbox = withEntry(inbox, client, first);
		queue = withEntry(queue, `${first.arrival}`, client);
		oldestArrival = Math.min(oldestArrival, first.arrival);
	}
	return {inbox, queue, oldestArrival, early: early!};
}

/** Who is gone leaves nothing. */
export const earlyWithout = ({early}: MainServerContext, gone: readonly string[]): Inbox =>
	early ? {early: withoutEntries(early, gone)} : {};

/** Each client's answers before its last, as many as may be asked for again. */
export function withEarlierReplies(
	{earlierReplies, replies, credit}: MainServerContext,
	clients: readonly string[],
): Pick<MainServerContext, 'earlierReplies'> {
	if (!earlierReplies) return {};
	return {
		earlierReplies: clients.reduce((kept, client) => {
			const last = entryOf(replies, client);
			const before = entryOf(kept, client) ?? [];
			return last ? withEntry(kept, client, [...before, last].slice(1 - credit)) : kept;
		}, earlierReplies),
	};
}
