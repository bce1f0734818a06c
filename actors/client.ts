/**
The client: holds the head and its private data, trains the head's adapter with gradients from the main server,
and hands the adapter to the fed server at each round's end. Without a main server it holds the whole model.

Pure: what it does to the world is the action `send` and its passes, all provided by the host.
*/
import {assign} from 'xstate';
import * as say from './client-messages.ts';
import {
	adapterOf,
	afterStep,
	begin,
	beginAgain,
	clientSetup,
	countUpdate,
	endRoundAfterStep,
	endRoundEarly,
	giveUpStep,
	goToNext,
	isApplied,
	keepGradient,
	restore,
	roundStart,
	sendAgain,
	sendBegun,
	stepKey,
	takeGradient,
	takeNext,
	takeRound,
	tellOvertaken,
	tellSkipped,
	unpause,
} from './client-setup.ts';
import * as pipeline from './pipeline.ts';

export const clientMachine = clientSetup.createMachine({
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
		...pipeline.firstPipeline(input),
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
						'host.restored': {actions: restore},
						// Where several batches are on their way answers come in any state.
						gradient: {guard: 'isOnItsWay', actions: keepGradient},
						'step-skipped': {guard: 'isOnItsWay', actions: giveUpStep},
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
								welcome: {
									actions: assign(({context, event}) => ({
										welcomedBy: [...context.welcomedBy, event.from],
										...(event.from === context.mainServerId && pipeline.withCredit(context, event.body.credit)),
									})),
								},
								// The round waits in the context until both servers have opened the door.
								'round-opened': {guard: 'isMember', actions: [tellOvertaken, takeRound]},
								'host.restored': {target: 'joining', reenter: true, actions: restore},
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
								{guard: 'isBeginning', target: 'forwarding', actions: begin},
								{
									guard: 'hasGradient',
									target: 'backwarding',
									actions: assign(({context}) => pipeline.oldestAsStep(context)),
								},
								{guard: 'isPipelined', target: 'awaitingGradients'},
								{guard: 'hasMainServer', target: 'forwarding'},
								{target: 'trainingLocally'},
							],
						},
						forwarding: {
							invoke: {
								src: 'forward',
								input: ({context}) => ({
									...(context.pipeline ? pipeline.begunKey(context) : stepKey(context)),
									...adapterOf(context),
								}),
							},
							on: {
								'forward.done': [
									{guard: 'isPipelined', target: 'stepping', actions: sendBegun},
									{
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
								],
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
							tags: 'bound',
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
						// As many batches as may be are on their way, and the gradient of the oldest is not here.
						awaitingGradients: {
							tags: 'quiet',
							always: {guard: 'isGoingOn', target: 'stepping'},
							after: {answerTimeout: {target: 'awaitingGradients', reenter: true, actions: sendAgain}},
							on: {
								'round-closing': {guard: 'isClosing', target: 'readingAdapter', actions: endRoundEarly},
								'host.restored': {target: 'stepping', actions: restore},
							},
						},
						backwarding: {
							tags: 'bound',
							invoke: {
								src: 'backward',
								input: ({context}) => ({
									...stepKey(context),
									...pipeline.oldestShape(context),
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
								'host.restored': {target: 'joining', actions: restore},
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
