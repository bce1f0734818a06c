/**
The client: holds the head and its private data, trains the head's adapter with gradients from the main server,
and hands the adapter to the fed server at each round's end. Without a main server it holds the whole model.

Pure: what it does to the world is the action `send` and its passes, all provided by the host.
*/
import {assign, setup} from 'xstate';
import type {Outgoing} from '../protocols/events.ts';
import type {ClientContext, ClientEvent, ClientInput} from './client-context.ts';
import * as say from './client-messages.ts';
import {memberOf} from './cohort.ts';
import {delayOf} from './delays.ts';
import {unprovidedAction, unprovidedPass} from './unprovided.ts';

const isLastStep = ({step, steps}: ClientContext) => step + 1 >= steps;
const isApplied = (context: ClientContext) => (context.step + 1) % context.accumulation === 0 || isLastStep(context);
const servers = ({fedServerId, mainServerId}: ClientContext) =>
	mainServerId ? [fedServerId, mainServerId] : [fedServerId];

/** The identity of the step under way, as passes and messages name it. */
const stepKey = ({round, step, batchIndex}: ClientContext) => ({round, step, batchIndex});

/** The global adapter, when the pass must take it over first. */
const adapterOf = ({adapter}: ClientContext) => (adapter ? {tensors: {adapter}} : {});

/** Nothing of the model's end is known for the step under way. */
const noTail = {tailOutput: null, tail: null};

const roundStart = {
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

const afterStep = (context: ClientContext, loss: number) => ({
	lossSum: context.lossSum + loss,
	lossSquareSum: context.lossSquareSum + loss ** 2,
	batchesDone: context.batchesDone + 1,
	step: context.step + 1,
	batchIndex: context.batchIndex + 1,
	optimizerSteps: context.optimizerSteps + (isApplied(context) ? 1 : 0),
	adapter: null,
	activations: null,
	...noTail,
	gradient: null,
});

const isOfStep = ({round, step}: ClientContext, body: {readonly round: number; readonly step: number}) =>
	body.round === round && body.step === step;

const machineSetup = setup({
	types: {
		context: {} as ClientContext,
		events: {} as ClientEvent,
		input: {} as ClientInput,
		tags: {} as 'quiet',
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
const tellOvertaken = machineSetup.enqueueActions(({context, enqueue}) => {
	if (context.round >= 0 && context.step < context.steps) enqueue({type: 'send', params: say.overtakenReport(context)});
});

const takeRound = machineSetup.assign(({context, event}) => {
	if (event.type !== 'round-opened') return {};
	const {round, steps, adapterVersion, tensors} = event.body;
	// A client that joins late takes its schedule's position from the round.
	const isFirst = context.round < 0;
	const own = isFirst ? Math.ceil((round * steps) / context.accumulation) : context.optimizerSteps;
	const {stepsPerVersion} = context;
	const optimizerSteps = stepsPerVersion === null ? own : Math.floor(adapterVersion * stepsPerVersion);
	return {...roundStart, round, steps, adapterVersion, optimizerSteps, adapter: tensors};
});

/** The round ends before the step under way, */
const endRoundEarly = machineSetup.enqueueActions(({context, enqueue}) => {
	enqueue({type: 'send', params: say.closedReport(context, context.step)});
	enqueue.assign({steps: context.step});
});

/** or after it, where its update is being made. */
const endRoundAfterStep = machineSetup.enqueueActions(({context, enqueue}) => {
	const steps = Math.max(context.step + 1, context.next);
	if (steps >= context.steps) return;
	enqueue({type: 'send', params: say.closedReport(context, steps)});
	enqueue.assign({steps});
});

const unpause = machineSetup.assign({isPauseAsked: false});

const tellSkipped = {type: 'send', params: say.skippedReport} as const;

const takeNext = machineSetup.assign(({event}) => (event.type === 'step-skipped' ? {next: event.body.next} : {}));
const goToNext = machineSetup.assign(({context}) => ({step: context.next, ...noTail}));

/** What the passes of a step keep for its end is not in a checkpoint: they are done again. */
const beginAgain = machineSetup.assign({isPauseAsked: false, ...noTail});

const takeGradient = machineSetup.assign(({event}) =>
	event.type === 'gradient' ? {gradient: event.body, serverVersionSeen: event.body.serverVersion} : {},
);
const countUpdate = machineSetup.assign(({context, event}) =>
	event.type === 'reuse.done' && event.isApplied ? {optimizerSteps: context.optimizerSteps + 1} : {},
);

export const clientMachine = machineSetup.createMachine({
	id: 'client',
	context: ({input}) => ({
		...input,
		...roundStart,
		round: -1,
		steps: 0,
		adapterVersion: 0,
		serverVersionSeen: 0,
		batchIndex: 0,
		optimizerSteps: 0,
		welcomedBy: [],
		isPauseAsked: false,
		adapter: null,
		failure: null,
	}),
	initial: 'active',
	states: {
		active: {
			type: 'parallel',
			states: {
				training: {
					initial: 'joining',
					on: {
						'round-opened': {guard: 'isMember', target: '.stepping', actions: [tellOvertaken, takeRound]},
						'run-finished': '#client.finished',
						dismissed: {target: '#client.failed', actions: assign({failure: ({event}) => event.body.reason})},
						'host.changed': {actions: assign(({event}) => event.input)},
						'host.pause': {actions: assign({isPauseAsked: true})},
						'host.resume': {actions: unpause},
						// States that do more when they are restored do this too.
						'host.restored': {actions: unpause},
						'pass.failed': {target: '#client.failed', actions: assign({failure: ({event}) => say.failureOf({event})})},
						refused: [
							{
								guard: 'isFatal',
								target: '#client.failed',
								actions: assign({failure: ({event}) => say.failureOf({event})}),
							},
							// The fed server has parted with a client that it had not heard for too long.
							{guard: 'isForgotten', actions: {type: 'send', params: say.hello}},
						],
					},
					states: {
						joining: {
							entry: {type: 'send', params: say.hello},
							always: [
								{guard: 'isPauseAsked', target: 'paused'},
								{guard: 'isWelcome', target: 'idle'},
							],
							after: {answerTimeout: {target: 'joining', reenter: true}},
							on: {
								welcome: {actions: assign({welcomedBy: ({context, event}) => [...context.welcomedBy, event.from]})},
								// The round waits in the context until both servers have opened the door.
								'round-opened': {guard: 'isMember', actions: [tellOvertaken, takeRound]},
								'host.restored': {target: 'joining', reenter: true, actions: assign({isPauseAsked: false})},
							},
						},
						idle: {
							tags: 'quiet',
							always: [
								{guard: 'isPauseAsked', target: 'paused'},
								{guard: 'hasWork', target: 'stepping'},
							],
						},
						stepping: {
							always: [
								{guard: 'isPauseAsked', target: 'paused'},
								{guard: 'isRoundDone', target: 'readingAdapter'},
								{guard: 'hasMainServer', target: 'forwarding'},
								{target: 'trainingLocally'},
							],
						},
						forwarding: {
							invoke: {
								src: 'forward',
								input: ({context}) => ({...stepKey(context), ...adapterOf(context)}),
							},
							on: {
								'forward.done': {
									target: 'sending',
									actions: assign({
										adapter: null,
										activations: ({context: {optimizerSteps}, event: {lengths, targets, tensors}}) => ({
											lengths,
											targets,
											tensors,
											optimizerSteps,
										}),
									}),
								},
								'round-closing': {guard: 'isClosing', target: 'readingAdapter', actions: endRoundEarly},
							},
						},
						sending: {always: [{guard: 'hasLabels', target: 'awaitingTail'}, {target: 'awaitingGradient'}]},
						// The U shape: what the main server made of the activations comes back to the client's own end of the model.
						awaitingTail: {
							tags: 'quiet',
							entry: {type: 'send', params: say.activations},
							after: {answerTimeout: {target: 'awaitingTail', reenter: true}},
							on: {
								'tail-output': [
									{guard: 'isTailDone', target: 'awaitingGradient'},
									{
										guard: 'isTailAsked',
										target: 'trainingTail',
										actions: assign({tailOutput: ({event}) => event.body.tensors}),
									},
								],
								gradient: {guard: 'isTailDone', target: 'backwarding', actions: takeGradient},
								'step-skipped': [
									{guard: 'isSkippedToEnd', target: 'stepping', actions: [tellSkipped, takeNext, goToNext]},
									{
										guard: 'isAwaited',
										target: 'awaitingTail',
										reenter: true,
										actions: [tellSkipped, takeNext, goToNext],
									},
								],
								'round-closing': {guard: 'isClosing', target: 'readingAdapter', actions: endRoundEarly},
								'host.restored': {target: 'forwarding', actions: beginAgain},
							},
						},
						trainingTail: {
							invoke: {
								src: 'tailStep',
								input: ({context}) => ({...stepKey(context), tensors: {tail: context.tailOutput!}}),
							},
							on: {
								'tailStep.done': {
									target: 'awaitingGradient',
									actions: assign({
										tailOutput: null,
										tail: ({event: {loss, tensors}}) => ({loss, tensors}),
									}),
								},
								'round-closing': {guard: 'isClosing', target: 'readingAdapter', actions: endRoundEarly},
							},
						},
						awaitingGradient: {
							tags: 'quiet',
							entry: {type: 'send', params: say.stepMessage},
							after: {
								answerTimeout: [
									// Which of the two answers was lost is not known: the first is asked for again.
									{guard: 'hasLabels', target: 'awaitingTail'},
									{target: 'awaitingGradient', reenter: true},
								],
							},
							on: {
								gradient: {guard: 'isAwaited', target: 'backwarding', actions: takeGradient},
								// What was computed is sent again as the step that the others wait for: a slow client would else never be in time.
								'step-skipped': [
									{guard: 'isReused', target: 'reusing', actions: [tellSkipped, takeNext]},
									{guard: 'isSkippedToEnd', target: 'stepping', actions: [tellSkipped, takeNext, goToNext]},
									{
										guard: 'isSkippedWithLabels',
										target: 'awaitingTail',
										actions: [tellSkipped, takeNext, goToNext],
									},
									{
										guard: 'isAwaited',
										target: 'awaitingGradient',
										reenter: true,
										actions: [tellSkipped, takeNext, goToNext],
									},
								],
								'round-closing': {guard: 'isClosing', target: 'readingAdapter', actions: endRoundEarly},
								// What the backward pass needs is not in a checkpoint: the forward pass is done again.
								'host.restored': {target: 'forwarding', actions: beginAgain},
							},
						},
						backwarding: {
							invoke: {
								src: 'backward',
								input: ({context}) => ({
									...stepKey(context),
									isApplied: isApplied(context),
									optimizerStep: context.optimizerSteps,
									tensors: {gradient: context.gradient!.tensors},
								}),
							},
							on: {
								'round-closing': {guard: 'isClosing', actions: endRoundAfterStep},
								'backward.done': {
									target: 'stepping',
									actions: [
										{type: 'send', params: say.stepReport},
										assign(({context}) => afterStep(context, context.gradient!.loss)),
									],
								},
							},
						},
						reusing: {
							invoke: {
								src: 'reuse',
								input: ({context}) => ({isApplied: isApplied(context), optimizerStep: context.optimizerSteps}),
							},
							on: {
								'reuse.done': {target: 'resending', actions: [countUpdate, goToNext]},
								'round-closing': {guard: 'isClosing', actions: endRoundAfterStep},
							},
						},
						resending: {always: [{guard: 'isRoundDone', target: 'stepping'}, {target: 'awaitingGradient'}]},
						trainingLocally: {
							invoke: {
								src: 'localStep',
								input: ({context}) => ({
									...stepKey(context),
									isApplied: isApplied(context),
									optimizerStep: context.optimizerSteps,
									...adapterOf(context),
								}),
							},
							on: {
								'localStep.done': {
									target: 'stepping',
									actions: [
										{type: 'send', params: say.stepReport},
										assign(({context, event}) => afterStep(context, event.loss)),
									],
								},
								'round-closing': {guard: 'isClosing', actions: endRoundAfterStep},
							},
						},
						readingAdapter: {
							invoke: {src: 'readAdapter', input: ({context}) => adapterOf(context)},
							on: {
								'readAdapter.done': {
									target: 'uploading',
									actions: assign({adapter: null, upload: ({event}) => event.tensors}),
								},
							},
						},
						uploading: {
							entry: {type: 'send', params: say.upload},
							after: {answerTimeout: {target: 'uploading', reenter: true}},
							on: {
								'upload-accepted': {
									guard: 'isAccepted',
									target: 'idle',
									actions: assign({isUploaded: true, upload: null}),
								},
								'host.restored': {target: 'uploading', reenter: true, actions: assign({isPauseAsked: false})},
							},
						},
						paused: {
							tags: 'quiet',
							on: {
								// A new round is taken, not begun.
								'round-opened': {guard: 'isMember', actions: [tellOvertaken, takeRound]},
								'host.resume': {target: 'joining', actions: unpause},
								'host.restored': {target: 'joining', actions: unpause},
							},
						},
					},
				},
				liveness: {
					initial: 'deciding',
					states: {
						deciding: {always: [{guard: 'hasHeartbeat', target: 'beating'}, {target: 'silent'}]},
						beating: {
							after: {heartbeat: {target: 'beating', reenter: true, actions: {type: 'send', params: say.heartbeat}}},
							on: {'host.restored': {target: 'beating', reenter: true, actions: unpause}},
						},
						silent: {},
					},
				},
			},
		},
		finished: {tags: 'quiet', type: 'final'},
		failed: {tags: 'quiet', entry: {type: 'send', params: say.leave}, type: 'final'},
	},
	output: ({context}) => ({failure: context.failure}),
});
