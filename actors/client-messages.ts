/**
What a client says: each function makes one plain message from the client's context. Pure.
*/
import type {HandledBody, Outgoing} from '../protocols/events.ts';
import type {ClientContext, ClientEvent} from './client-context.ts';

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

export const activations = ({context}: From): Outgoing => {
	const {incarnation, round, step, serverVersionSeen, mainServerId, activations: sent} = context;
	return {verb: 'activations', to: mainServerId!, body: {incarnation, round, step, serverVersionSeen, ...sent!}};
};

export const upload = ({context}: From): Outgoing => {
	const {incarnation, round, adapterVersion, step, samples, fedServerId, upload: tensors} = context;
	const body = {incarnation, round, adapterVersion, stepsDone: step, samples, tensors: tensors!};
	return {verb: 'upload', to: fedServerId, body};
};

export const leave = ({context: {incarnation, failure}}: From): Outgoing => ({
	verb: 'leave',
	body: {incarnation, reason: failure ?? 'the run is over'},
});

/** One row of `metrics.jsonl` for the step that ends with this event. */
export const stepReport = ({context, event}: FromEvent): Outgoing => {
	const {round, step, gradient} = context;
	const done = event as Extract<ClientEvent, {type: 'backward.done' | 'localStep.done'}>;
	const {loss, targets} = done.type === 'localStep.done' ? done : (gradient as HandledBody<'gradient'>);
	const serverStaleness = gradient?.serverStaleness ?? 0;
	const {tokens, gradientNorm} = done;
	const row = {round, step, loss, targets, tokens, gradientNorm, serverStaleness, gradientStaleness: 0};
	return {verb: 'report', body: {kind: 'step', timeMs: 0, row}};
};

/** Why a client gave up, for its `leave` and for the user. */
export const failureOf = ({event}: {readonly event: ClientEvent}): string => {
	if (event.type === 'pass.failed') return `${event.pass} failed: ${event.error}`;
	if (event.type !== 'refused') return event.type;
	const {verb, field, found, expected, fix} = event.body;
	return `${event.from} refused ${verb}: ${field} is ${found}, expected ${expected}; ${fix}`;
};
