/**
The fed server: owns membership, rounds, the global client adapter and its version. It opens a round, waits for the
cohort's uploads as its closing rule says, aggregates, and opens the next until the run's steps are done.

Pure: what it does to the world is the action `send` and its passes, all provided by the host.
*/
import {and, assign, not, or} from 'xstate';
import {emptyTable} from '../protocols/table.ts';
import {isOwnPace, roundSteps} from './fed-server-context.ts';
import * as say from './fed-server-messages.ts';
import * as plan from './fed-server-plans.ts';
import {
	assignIdle,
	checkLeases,
	closeRound,
	fedServerSetup,
	greet,
	loseMember,
	openAgain,
	openRound,
	takeHeartbeat,
	takeUpload,
} from './fed-server-setup.ts';
import {sharedBlocksAsked} from './shared-blocks.ts';

/** The oldest uploads, as many as an aggregation takes. */
const takeBuffer = fedServerSetup.assign(({context}) => ({
	counting: plan.countedNext(context),
	carried: context.carried.slice(plan.bufferOf(context)),
}));

const unpause = fedServerSetup.assign({isPauseAsked: false});

export const fedServerMachine = fedServerSetup.createMachine({
	id: 'fed-server',
	context: ({input}) => ({
		...input,
		round: -1,
		adapterVersion: 0,
		adapter: null,
		roster: emptyTable,
		isMainServerHere: false,
		cohort: [],
		uploads: emptyTable,
		shared: null,
		gone: [],
		stepsDone: 0,
		openedAtMs: null,
		deadlineMs: null,
		isDeadlinePast: false,
		closedRound: -1,
		late: emptyTable,
		carried: [],
		counting: [],
		statistics: emptyTable,
		assignments: emptyTable,
		idle: [],
		toldVersion: -1,
		isPauseAsked: false,
		isFinishAsked: false,
		failure: null,
	}),
	initial: 'active',
	on: {
		'host.changed': {actions: assign(({event}) => event.input)},
		hello: {actions: greet},
		upload: {actions: takeUpload},
		heartbeat: {actions: takeHeartbeat},
		leave: {actions: loseMember},
		'host.pause': {actions: assign({isPauseAsked: true})},
		'host.resume': {actions: unpause},
		'host.finish': {actions: assign({isFinishAsked: true})},
		// States that do more when they are restored do this too.
		'host.restored': {actions: unpause},
	},
	states: {
		active: {
			type: 'parallel',
			states: {
				rounds: {
					initial: 'starting',
					on: {
						'pass.failed': {
							target: '#fed-server.failed',
							actions: assign({failure: ({event}) => `${event.pass} failed: ${event.error}`}),
						},
					},
					states: {
						starting: {
							invoke: {src: 'readAdapter', input: () => ({})},
							on: {'readAdapter.done': {target: 'gathering', actions: assign({adapter: ({event}) => event.tensors})}},
						},
						gathering: {
							tags: 'quiet',
							always: {guard: 'isComplete', target: 'deciding'},
						},
						deciding: {
							always: [
								{guard: 'isTrained', target: '#fed-server.finished'},
								{guard: 'isPauseAsked', target: 'paused'},
								{guard: and(['hasData', 'isOwnPace']), target: 'serving'},
								{guard: and(['hasData', 'isSurveyed']), target: 'opening'},
								{guard: 'hasData', target: 'collecting', actions: openRound},
								{guard: 'isDeserted', target: 'deserted'},
								{target: '#fed-server.failed', actions: assign({failure: say.nobodyHasData})},
							],
						},
						// Everybody has left: who comes next opens the next round.
						deserted: {
							tags: 'quiet',
							always: {guard: not('isDeserted'), target: 'deciding'},
						},
						// What policies know of an opening beside the roster: the time, and random numbers.
						opening: {
							invoke: {src: 'survey', input: ({context}) => plan.surveyPass(context)},
							on: {'survey.done': {target: 'collecting', actions: openRound}},
						},
						paused: {
							tags: 'quiet',
							on: {
								'host.resume': {target: 'deciding', actions: assign({isPauseAsked: false})},
								'host.restored': {target: 'deciding', actions: assign({isPauseAsked: false})},
							},
						},
						collecting: {
							tags: 'quiet',
							always: [
								{
									guard: 'isClosedEmpty',
									target: 'closing',
									actions: [{type: 'send', params: say.voidReport}, closeRound],
								},
								{guard: 'isSharing', target: 'awaitingShared', actions: closeRound},
								{guard: 'isClosed', target: 'aggregating', actions: closeRound},
								{guard: 'isVoid', target: 'closing', actions: [{type: 'send', params: say.voidReport}, closeRound]},
							],
							after: {
								deadline: {
									guard: 'hasDeadline',
									actions: [assign({isDeadlinePast: true}), {type: 'send', params: say.roundClosing}],
								},
							},
							// Whoever missed the opening hears it again; a repeat has no effect.
							on: {
								'host.restored': {
									target: 'collecting',
									reenter: true,
									actions: [assign({isPauseAsked: false}), openAgain],
								},
							},
						},
						// Blocks that the main server holds for clients of smaller cuts are averaged with the others' uploads.
						awaitingShared: {
							tags: 'quiet',
							entry: {type: 'send', params: sharedBlocksAsked},
							after: {answerTimeout: {target: 'awaitingShared', reenter: true}},
							on: {
								'shared-blocks': {
									guard: 'isAskedFor',
									target: 'aggregating',
									actions: assign({shared: ({event}) => event.body.tensors}),
								},
								'host.restored': {
									target: 'awaitingShared',
									reenter: true,
									actions: assign({isPauseAsked: false}),
								},
							},
						},
						// Asynchronous rounds: every client is in one of its own.
						serving: {
							tags: 'quiet',
							always: [
								{guard: 'isBufferFull', target: 'aggregating', actions: takeBuffer},
								{guard: 'isPauseAsked', target: 'paused'},
								{guard: or(['isDeserted', 'isTrained']), target: 'deciding'},
								{guard: 'hasIdle', actions: assignIdle},
							],
							on: {
								'host.restored': {
									target: 'serving',
									reenter: true,
									actions: [assign({isPauseAsked: false}), openAgain],
								},
							},
						},
						aggregating: {
							invoke: {
								src: 'aggregate',
								input: ({context}) => plan.aggregatePass(context),
							},
							on: {
								'aggregate.done': {
									target: 'closing',
									actions: [
										assign({
											adapter: ({event}) => event.tensors,
											adapterVersion: ({context}) => context.adapterVersion + 1,
										}),
										{type: 'send', params: say.roundReport},
									],
								},
							},
						},
						closing: {
							entry: assign(({context}) => ({
								stepsDone: context.stepsDone + (isOwnPace(context) ? 0 : roundSteps(context)),
								uploads: emptyTable,
								shared: null,
								cohort: [],
								counting: [],
							})),
							always: [{guard: 'isCheckpointed', target: 'checkpointing'}, {target: 'deciding'}],
						},
						checkpointing: {
							invoke: {src: 'checkpoint', input: () => ({})},
							on: {
								'checkpoint.done': 'deciding',
								'host.restored': {target: 'deciding', actions: assign({isPauseAsked: false})},
							},
						},
					},
				},
				leases: {
					initial: 'deciding',
					states: {
						deciding: {always: [{guard: 'hasLease', target: 'checking'}, {target: 'endless'}]},
						checking: {
							after: {leaseCheck: {target: 'checking', reenter: true, actions: checkLeases}},
							on: {'host.restored': {target: 'checking', reenter: true, actions: unpause}},
						},
						endless: {},
					},
				},
			},
		},
		finished: {tags: 'quiet', entry: {type: 'send', params: say.runFinished}, type: 'final'},
		failed: {tags: 'quiet', entry: {type: 'send', params: say.runFinished}, type: 'final'},
	},
	output: ({context}) => ({failure: context.failure}),
});
