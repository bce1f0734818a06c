/**
The main server's half of a step whose labels stay with the clients: what it made of the batches goes to the clients, and it takes
the step when the gradients have come back. Pure.
*/
import type {Incoming, Outgoing} from '../protocols/events.ts';
import {entryOf, withEntry} from '../protocols/table.ts';
import {fenced} from './agreement.ts';
import type {MainServerContext, MainServerEvent, Pending, Reply} from './main-server-context.ts';
import {normalised, type StepPlan} from './policies/server-update.ts';

export const hasLabelsAtClients = ({labels}: Pick<MainServerContext, 'labels'>): boolean => labels === 'client';

type Ends = {readonly client: string; readonly tailOutput?: Pending['tailOutput']};

/** What the client's end of the model goes on from; nothing while it is not computed. */
export function tailOutput(
	{client, tailOutput: tensors}: Ends,
	{incarnation, round, step}: Pick<Pending, 'incarnation' | 'round' | 'step'>,
): Outgoing | undefined {
	return tensors && {verb: 'tail-output', to: client, body: {incarnation, round, step, tensors}};
}

/** Members of the step under way that are still here, with their batches. */
const present = ({plan, inbox, round}: MainServerContext): Pending[] =>
	plan.flatMap(({client}) => {
		const pending = entryOf(inbox, client);
		return pending?.round === round && pending.tailOutput ? [pending] : [];
	});

/** Everybody who can finish the step has sent the gradient of its end. */
export const areTailsHere = (context: MainServerContext): boolean =>
	present(context).every(pending => pending.tailGradient !== undefined);

/** Nobody is left to finish the step, or nobody waits for it any more. */
export const isAbandoned = (context: MainServerContext): boolean => context.isOver || present(context).length === 0;

/** The plan over those who finish the step; their shares are made whole. */
export function finishedPlan(context: MainServerContext): StepPlan {
	const here = new Set(present(context).map(({client}) => client));
	if (here.size === context.plan.length) return context.plan;
	return normalised(context.plan.filter(({client}) => here.has(client)));
}

/** The inbox with what was computed for each batch, by its place in the step. */
export function withTailOutputs(
	{inbox, plan}: MainServerContext,
	tensors: Extract<MainServerEvent, {type: 'mainForward.done'}>['tensors'],
): MainServerContext['inbox'] {
	return plan.reduce((all, {client}, index) => {
		const pending = entryOf(all, client);
		return pending ? withEntry(all, client, {...pending, tailOutput: tensors[`${index}`]!}) : all;
	}, inbox);
}

/** Whether a client's batch can still be finished after its new life has begun. */
export const isFinishable = (context: MainServerContext, client: string): boolean =>
	!hasLabelsAtClients(context) || entryOf(context.inbox, client)?.tailGradient !== undefined;

type Verdict = {readonly taken?: Pending; readonly answer?: Outgoing};

/** Whether the gradient of a client's end is taken, and what is answered at once. */
export function judgeTail(
	context: MainServerContext,
	{from, body}: Incoming<'tail-gradient'>,
	answer: (reply: Reply) => Outgoing,
): Verdict {
	const known = entryOf(context.incarnations, from) ?? -1;
	if (body.incarnation < known) return {answer: fenced('tail-gradient', from, body.incarnation, known)};
	const reply = entryOf(context.replies, from);
	if (reply && reply.round === body.round && reply.step === body.step && reply.incarnation === body.incarnation)
		return {answer: answer(reply)};
	const pending = entryOf(context.inbox, from);
	const isOfStep = pending?.round === body.round && pending.step === body.step;
	if (!isOfStep || pending.incarnation !== body.incarnation || pending.tailGradient) return {};
	const {loss, tensors} = body;
	return {taken: {...pending, tailGradient: {loss, tensors}}};
}
