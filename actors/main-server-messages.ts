/**
What the main server says, and its verdict on activations that arrive. Pure.
*/
import type {Incoming, Outgoing} from '../protocols/events.ts';
import {entryOf, valuesOf} from '../protocols/table.ts';
import {fenced, refusalOf} from './agreement.ts';
import {memberOf} from './cohort.ts';
import {earlierReply, isOverCredit, isWaitingEarly, versionsSince} from './early-batches.ts';
import type {MainServerContext, MainServerEvent, Pending, Reply} from './main-server-context.ts';
import {tailOutput} from './u-shape.ts';

type From = {readonly context: MainServerContext};

export const hello = ({context: {incarnation, agreement}}: From): Outgoing => ({
	verb: 'hello',
	body: {incarnation, samples: 0, agreement},
});

/** Why this client may not come in; nothing when it may. */
export function helloRefusal(context: MainServerContext, {from, body}: Incoming<'hello'>): Outgoing | undefined {
	const mismatch = refusalOf('hello', context.agreement, body.agreement);
	if (mismatch) return {verb: 'refused', to: from, body: mismatch};
	const known = entryOf(context.incarnations, from) ?? -1;
	return body.incarnation < known ? fenced('hello', from, body.incarnation, known) : undefined;
}

export const welcome = (
	{round, adapterVersion, credit}: MainServerContext,
	{from, body}: Incoming<'hello'>,
): Outgoing => ({
	verb: 'welcome',
	to: from,
	body: {incarnation: body.incarnation, round, adapterVersion, credit},
});

/** `isWaiting`: a repeat of what has not come to its step yet. */
type Verdict = {readonly isTaken: boolean; readonly isWaiting?: boolean; readonly answer?: Outgoing};

/** Whether a batch is taken in, and what is answered at once. */
export function judge(context: MainServerContext, {from, body}: Incoming<'activations'>): Verdict {
	const known = entryOf(context.incarnations, from);
	if (known === undefined)
		return {
			isTaken: false,
			answer: refusal(from, 'not-in-cohort', 'client', from, 'a client that said hello', 'join first'),
		};
	if (body.incarnation < known) return {isTaken: false, answer: fenced('activations', from, body.incarnation, known)};
	const reply = entryOf(context.replies, from);
	if (reply && reply.incarnation < known && reply.round === body.round && !isBefore(reply, body)) {
		// It came back from nothing: what its former life has taken is not taken again.
		return {isTaken: false, answer: stepSkipped({client: from, round: body.round, step: body.step}, reply.step + 1)};
	}
	if (reply && reply.round === body.round && reply.step === body.step)
		return {isTaken: false, answer: tailOutput(reply, reply) ?? gradient(reply)};
	const before = earlierReply(context, from, body);
	if (before) return {isTaken: false, answer: gradient(before)};
	if (reply && isBefore(body, reply)) {
		const found = `round ${body.round} step ${body.step}`;
		const expected = `after round ${reply.round} step ${reply.step}`;
		return {
			isTaken: false,
			answer: refusal(from, 'already-applied', 'step', found, expected, 'go on with the next step'),
		};
	}
	if (isWaitingEarly(context, from, body)) return {isTaken: false, isWaiting: true};
	if (isOverCredit(context, from, body)) return {isTaken: false};
	const waiting = entryOf(context.inbox, from);
	const again = waiting && !isBefore(body, waiting) && tailOutput(waiting, waiting);
	if (again && !isBefore(waiting, body)) return {isTaken: false, answer: again};
	if (waiting && !isBefore(waiting, body)) return {isTaken: false, isWaiting: !isBefore(body, waiting)};
	const isMember = memberOf(context.cohort, from) !== undefined;
	if (body.round === context.round && !isMember) {
		return {
			isTaken: false,
			answer: refusal(
				from,
				'not-in-cohort',
				'round',
				String(body.round),
				'a round with this client',
				'wait for the next round',
			),
		};
	}
	if (context.update.kind === 'parallel' && body.round === context.round && body.step < context.nextStep) {
		// The others are further: who comes back in mid-round goes on with the step they wait for.
		return {isTaken: false, answer: stepSkipped({client: from, round: body.round, step: body.step}, context.nextStep)};
	}
	// Activations may overtake the round's opening: they wait for it.
	return {isTaken: body.round >= context.round};
}

type Missed = StepKey & {readonly client: string};

/** The batches of the open round that wait for a step before `nextStep`, without those answered. */
export const missedBy = (
	{inbox, round}: MainServerContext,
	{nextStep, answered}: {readonly nextStep: number; readonly answered: readonly string[]},
): Missed[] => {
	// Asked after every step: where all that waited are answered nobody is looked at.
	if (inbox.size <= answered.length) return [];
	return valuesOf(inbox).filter(
		batch => batch.round === round && batch.step < nextStep && !answered.includes(batch.client),
	);
};

export const stepSkipped = ({client, round, step}: Missed, next: number): Outgoing => ({
	verb: 'step-skipped',
	to: client,
	body: {round, step, next},
});

type StepKey = {readonly round: number; readonly step: number};
const isBefore = (a: StepKey, b: StepKey) => a.round < b.round || (a.round === b.round && a.step < b.step);

function refusal(
	to: string,
	code: 'already-applied' | 'not-in-cohort',
	...[field, found, expected, fix]: [string, string, string, string]
): Outgoing {
	return {verb: 'refused', to, body: {verb: 'activations', code, field, found, expected, fix}};
}

/** The answers of a finished step, one for each batch of the plan. Server staleness is measured here, never taken from the peer. */
export function repliesOf(
	context: MainServerContext,
	{losses, tensors}: Pick<Extract<MainServerEvent, {type: 'mainStep.done'}>, 'losses' | 'tensors'>,
	serverVersion: number,
): Reply[] {
	const {plan, inbox, update} = context;
	// A client's copy changes by its own steps only.
	const stalenessOf = ({client, serverVersionSeen}: Pending) =>
		update.kind === 'replicas'
			? versionsSince(context, client, serverVersionSeen)
			: Math.max(0, context.serverVersion - serverVersionSeen);
	return plan.flatMap(({client}, index) => {
		const pending = entryOf(inbox, client);
		// It left while its step was under way: nobody waits for the answer.
		if (!pending) return [];
		const {incarnation, round, step, targets} = pending;
		return {
			client,
			incarnation,
			round,
			step,
			targets,
			loss: losses[index]!,
			serverVersion,
			serverStaleness: stalenessOf(pending),
			tensors: tensors[`${index}`]!,
			...(pending.tailOutput && {tailOutput: pending.tailOutput}),
		};
	});
}

export const gradient = ({client, tailOutput: _, ...body}: Reply): Outgoing => ({verb: 'gradient', to: client, body});

export const serverAdapter = ({
	context: {adapterVersion, serverVersion},
	event,
}: From & {event: MainServerEvent}): Outgoing => ({
	verb: 'server-adapter',
	body: {
		adapterVersion,
		serverVersion,
		tensors: (event as Extract<MainServerEvent, {type: 'readAdapter.done'}>).tensors,
	},
});

export const refusalText = ({from, body}: Incoming<'refused'>): string =>
	`${from} refused ${body.verb}: ${body.field} is ${body.found}, expected ${body.expected}; ${body.fix}`;
