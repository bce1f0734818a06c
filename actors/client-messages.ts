/**
What a client says: each function makes one plain message from the client's context. Pure.
*/
import type {HandledBody, Outgoing} from '../protocols/events.ts';
import type {ClientContext, ClientEvent} from './client-context.ts';
import {activationsOf, unfinished} from './pipeline.ts';

type From = {readonly context: ClientContext};
type FromEvent = From & {readonly event: ClientEvent};

export const hello = ({context: {incarnation, samples, agreement}}: From): Outgoing => ({
	verb: 'hello',
	body: {incarnation, samples, agreement},
});

export const heartbeat = ({context: {incarnation, round, isUploaded, fedServerId}}: From): Outgoing => ({
	verb: 'heartbeat',
	to: fedServerId,
	body: {incarnation, round, isIdle: isUploaded || round < 0},
});

export const activations = ({context}: From): Outgoing =>
	activationsOf(context, {step: context.step, ...context.activations!});

/** What the step waits for an answer to: its activations, or the gradient of a tail that the client holds. */
export const stepMessage = ({context}: From): Outgoing => {
	if (!context.tail) return activations({context});
	const {incarnation, round, step, mainServerId} = context;
	return {verb: 'tail-gradient', to: mainServerId!, body: {incarnation, round, step, ...context.tail}};
};

export const upload = ({context}: From): Outgoing => {
	const {incarnation, round, adapterVersion, step, samples, fedServerId, upload: tensors} = context;
	const batches = Math.max(1, context.batchesDone);
	const losses = {lossMean: context.lossSum / batches, lossSquareMean: context.lossSquareSum / batches};
	const body = {incarnation, round, adapterVersion, stepsDone: step, samples, ...losses, tensors: tensors!};
	return {verb: 'upload', to: fedServerId, body};
};

export const leave = ({context: {incarnation, failure}}: From): Outgoing => ({
	verb: 'leave',
	body: {incarnation, reason: failure ?? 'the run is over'},
});

/** One row of `metrics.jsonl` for the step that ends with this event. */
export const stepReport = ({context, event}: FromEvent): Outgoing => {
	const {round, step, gradient, activations: sent, optimizerSteps} = context;
	const done = event as Extract<ClientEvent, {type: 'backward.done' | 'localStep.done'}>;
	const {loss, targets} = done.type === 'localStep.done' ? done : (gradient as HandledBody<'gradient'>);
	const serverStaleness = gradient?.serverStaleness ?? 0;
	const {tokens, gradientNorm} = done;
	const gradientStaleness = sent ? optimizerSteps - sent.optimizerSteps : 0;
	const row = {round, step, loss, targets, tokens, gradientNorm, serverStaleness, gradientStaleness};
	return {verb: 'report', body: {kind: 'step', timeMs: 0, row}};
};

/** One row of `metrics.jsonl` for steps of a round that this client does not take: with its `step` rows they make up I. */
const dropReport = ({round, step}: ClientContext, steps: number, reason: string): Outgoing => ({
	verb: 'report',
	body: {kind: 'drop', timeMs: 0, row: {round, step, steps, reason}},
});

/** The steps up to the one that the main server goes on with. */
export const skippedReport = ({context, event}: FromEvent): Outgoing => {
	const {next} = (event as Extract<ClientEvent, {type: 'step-skipped'}>).body;
	const reason = context.onSkipped === 'reuse' ? 'skipped, last gradient reused' : 'skipped';
	return dropReport(context, next - context.step, reason);
};

/** So many steps of a round that closes, from the step `from` on. */
export const closedReport = (context: ClientContext, from: number, steps: number): Outgoing =>
	dropReport({...context, step: from}, steps, 'round closed');

/** A step that the others took while several batches were on their way, and those that are left out after it. */
export const givenUpReport = (context: ClientContext, step: number, steps: number): Outgoing =>
	dropReport({...context, step}, steps, 'skipped');

/** The rest of a round whose closing this client never heard of. */
export const overtakenReport = (context: ClientContext): Outgoing =>
	dropReport(context, unfinished(context), 'next round opened');

/** Why a client gave up, for its `leave` and for the user. */
export const failureOf = ({event}: {readonly event: ClientEvent}): string => {
	if (event.type === 'pass.failed') return `${event.pass} failed: ${event.error}`;
	if (event.type !== 'refused') return event.type;
	const {verb, field, found, expected, fix} = event.body;
	return `${event.from} refused ${verb}: ${field} is ${found}, expected ${expected}; ${fix}`;
};
