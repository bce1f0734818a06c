/**
The words of the client's machine: its types, passes, guards and delays, and what it does on messages of the servers. Its states are
in `client.ts`.
*/
import {setup} from 'xstate';
import type {Outgoing} from '../protocols/events.ts';
import type {ClientContext, ClientEvent, ClientInput} from './client-context.ts';
import * as say from './client-messages.ts';
import {memberOf} from './cohort.ts';
import {delayOf} from './delays.ts';
import * as pipeline from './pipeline.ts';
import {unprovidedAction, unprovidedPass} from './unprovided.ts';

const isLastStep = ({step, steps}: ClientContext) => step + 1 >= steps;
export const isApplied = (context: ClientContext) =>
	(context.step + 1) % context.accumulation === 0 || isLastStep(context);
const servers = ({fedServerId, mainServerId}: ClientContext) =>
	mainServerId ? [fedServerId, mainServerId] : [fedServerId];

/** The identity of the step under way, as passes and messages name it. */
export const stepKey = ({round, step, batchIndex}: ClientContext) => ({round, step, batchIndex});

/** The global adapter, when the pass must take it over first. */
export const adapterOf = ({adapter}: ClientContext) => (adapter ? {tensors: {adapter}} : {});

/** Nothing of the model's end is known for the step under way. */
const noTail = {tailOutput: null, tail: null};

export const roundStart = {
	step: 0,
	next: 0,
	lossSum: 0,
	lossSquareSum: 0,
	batchesDone: 0,
	isUploaded: false,
	activations: null,
	...noTail,
	gradient: null,
	upload: null,
};

export const afterStep = (context: ClientContext, loss: number) => ({
	lossSum: context.lossSum + loss,
	lossSquareSum: context.lossSquareSum + loss ** 2,
	batchesDone: context.batchesDone + 1,
	...(context.pipeline ? pipeline.afterOldest(context) : {step: context.step + 1, batchIndex: context.batchIndex + 1}),
	optimizerSteps: context.optimizerSteps + (isApplied(context) ? 1 : 0),
	adapter: null,
	activations: null,
	...noTail,
	gradient: null,
});

const isOfStep = ({round, step}: ClientContext, body: {readonly round: number; readonly step: number}) =>
	body.round === round && body.step === step;

export const clientSetup = setup({
	types: {
		context: {} as ClientContext,
		events: {} as ClientEvent,
		input: {} as ClientInput,
		/** `bound`: a pass goes on from what the one before it keeps, which no checkpoint has. */
		tags: {} as 'quiet' | 'bound',
		output: {} as {failure: string | null},
	},
	actors: {
		forward: unprovidedPass<ClientEvent>('forward'),
		backward: unprovidedPass<ClientEvent>('backward'),
		tailStep: unprovidedPass<ClientEvent>('tailStep'),
		reuse: unprovidedPass<ClientEvent>('reuse'),
		localStep: unprovidedPass<ClientEvent>('localStep'),
		readAdapter: unprovidedPass<ClientEvent>('readAdapter'),
	},
	actions: {send: (_, _message: Outgoing) => unprovidedAction('send')()},
	guards: {
		isWelcome: ({context}) => servers(context).every(server => context.welcomedBy.includes(server)),
		hasWork: ({context}) => context.round >= 0 && !context.isUploaded,
		isPauseAsked: ({context}) => context.isPauseAsked,
		hasMainServer: ({context}) => context.mainServerId !== null,
		hasHeartbeat: ({context}) => context.heartbeatMs > 0,
		isRoundDone: ({context}) => context.step >= context.steps,
		isMember: ({context, event}) =>
			event.type === 'round-opened' &&
			event.body.round > context.round &&
			memberOf(event.body.cohort, context.clientId) !== undefined,
		isClosing: ({context, event}) => event.type === 'round-closing' && event.body.round === context.round,
		isAwaited: ({context, event}) =>
			(event.type === 'gradient' || event.type === 'step-skipped') && isOfStep(context, event.body),
		hasLabels: ({context}) => context.labels === 'client',
		isPipelined: ({context}) => context.pipeline !== undefined,
		/** A batch is to be begun, or its lost forward pass once more. */
		isBeginning: ({context}) => pipeline.hasLost(context) || pipeline.canBegin(context),
		hasGradient: ({context}) => pipeline.hasGradient(context),
		isGoingOn: ({context}) =>
			pipeline.unfinished(context) === 0 || pipeline.canBegin(context) || pipeline.hasGradient(context),
		isOnItsWay: ({context, event}) =>
			(event.type === 'gradient' || event.type === 'step-skipped') && pipeline.isOnItsWay(context, event.body),
		/** The model's end was computed: only its answer was lost. */
		isTailDone: ({context, event}) =>
			(event.type === 'gradient' || event.type === 'tail-output') &&
			context.tail !== null &&
			isOfStep(context, event.body),
		isTailAsked: ({context, event}) => event.type === 'tail-output' && isOfStep(context, event.body),
		isSkippedWithLabels: ({context, event}) =>
			event.type === 'step-skipped' && isOfStep(context, event.body) && context.labels === 'client',
		isReused: ({context, event}) =>
			event.type === 'step-skipped' && isOfStep(context, event.body) && context.onSkipped === 'reuse',
		isSkippedToEnd: ({context, event}) =>
			event.type === 'step-skipped' && isOfStep(context, event.body) && event.body.next >= context.steps,
		isAccepted: ({context, event}) => event.type === 'upload-accepted' && event.body.round === context.round,
		isForgotten: ({event}) =>
			event.type === 'refused' && event.body.verb === 'heartbeat' && event.body.code === 'not-in-cohort',
		isFatal: ({event}) =>
			event.type === 'refused' && ['mismatch', 'invalid', 'fenced', 'id-in-use'].includes(event.body.code),
	},
	delays: {
		answerTimeout: ({context}) => delayOf(context.answerTimeoutMs),
		heartbeat: ({context}) => delayOf(context.heartbeatMs),
	},
});

/** A round whose closing was not heard ends with the opening of the next. */
export const tellOvertaken = clientSetup.enqueueActions(({context, enqueue}) => {
	if (context.round >= 0 && pipeline.unfinished(context) > 0)
		enqueue({type: 'send', params: say.overtakenReport(context)});
});

export const takeRound = clientSetup.assign(({context, event}) => {
	if (event.type !== 'round-opened') return {};
	const {round, steps, adapterVersion, tensors} = event.body;
	// A client that joins late takes its schedule's position from the round.
	const isFirst = context.round < 0;
	const own = isFirst ? Math.ceil((round * steps) / context.accumulation) : context.optimizerSteps;
	const {stepsPerVersion} = context;
	const optimizerSteps = stepsPerVersion === null ? own : Math.floor(adapterVersion * stepsPerVersion);
	const start = {...roundStart, ...pipeline.newRound(context)};
	return {...start, round, steps, adapterVersion, optimizerSteps, adapter: tensors};
});

/** The round ends before the step under way, */
export const endRoundEarly = clientSetup.enqueueActions(({context, enqueue}) => {
	enqueue({type: 'send', params: say.closedReport(context, context.step, pipeline.unfinished(context))});
	enqueue.assign(pipeline.endedEarly(context));
});

/** or after it, where its update is being made. */
export const endRoundAfterStep = clientSetup.enqueueActions(({context, enqueue}) => {
	if (context.pipeline) {
		const left = pipeline.unfinished(context) - 1;
		if (left > 0) enqueue({type: 'send', params: say.closedReport(context, context.step + 1, left)});
		enqueue.assign(pipeline.endedAfterOldest(context.pipeline));
		return;
	}
	const steps = Math.max(context.step + 1, context.next);
	if (steps >= context.steps) return;
	enqueue({type: 'send', params: say.closedReport(context, steps, context.steps - steps)});
	enqueue.assign({steps});
});

export const unpause = clientSetup.assign({isPauseAsked: false});
export const restore = clientSetup.assign(({context}) => ({isPauseAsked: false, ...pipeline.withLost(context)}));

export const tellSkipped = {type: 'send', params: say.skippedReport} as const;

export const takeNext = clientSetup.assign(({event}) => (event.type === 'step-skipped' ? {next: event.body.next} : {}));
export const goToNext = clientSetup.assign(({context}) => ({step: context.next, ...noTail}));

/** What the passes of a step keep for its end is not in a checkpoint: they are done again. */
export const beginAgain = clientSetup.assign({isPauseAsked: false, ...noTail});

export const takeGradient = clientSetup.assign(({event}) =>
	event.type === 'gradient' ? {gradient: event.body, serverVersionSeen: event.body.serverVersion} : {},
);
export const countUpdate = clientSetup.assign(({context, event}) =>
	event.type === 'reuse.done' && event.isApplied ? {optimizerSteps: context.optimizerSteps + 1} : {},
);

export const begin = clientSetup.assign(({context}) => pipeline.begin(context));
export const keepGradient = clientSetup.assign(({context, event}) =>
	event.type === 'gradient' ? pipeline.withGradient(context, event.body) : {},
);

/** The batch that was begun goes to the main server, unless its step was given up meanwhile or its gradient has come. */
export const sendBegun = clientSetup.enqueueActions(({context, event, enqueue}) => {
	if (event.type !== 'forward.done') return;
	const {step} = context.pipeline!.begun!;
	const change = pipeline.sent(context, event);
	enqueue.assign({adapter: null, ...change});
	const batch = change.pipeline!.inFlight.find(one => one.step === step);
	if (batch && !batch.gradient) enqueue({type: 'send', params: pipeline.activationsOf(context, batch)});
});

export const sendAgain = clientSetup.enqueueActions(({context, enqueue}) => {
	for (const batch of pipeline.unanswered(context))
		enqueue({type: 'send', params: pipeline.activationsOf(context, batch)});
});

export const giveUpStep = clientSetup.enqueueActions(({context, event, enqueue}) => {
	if (event.type !== 'step-skipped') return;
	const {change, steps} = pipeline.skipped(context, event.body);
	enqueue({type: 'send', params: say.givenUpReport(context, event.body.step, steps)});
	enqueue.assign(change);
});
