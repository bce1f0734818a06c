/**
The main server: holds the tail, turns activations into losses and gradients, and trains the tail's adapter.
A step's key is (client, round, step): a repeat gets the stored reply and is never applied twice.

Pure: what it does to the world is the action `send` and its passes, all provided by the host.
*/
import {assign, setup} from 'xstate';
import type {Outgoing} from '../protocols/events.ts';
import {emptyTable, entryOf, withEntry} from '../protocols/table.ts';
import {cohortWithout, memberOf} from './cohort.ts';
import {delayOf} from './delays.ts';
import * as early from './early-batches.ts';
import type {MainServerContext, MainServerEvent, MainServerInput} from './main-server-context.ts';
import * as say from './main-server-messages.ts';
import {
	inboxWithout,
	isApplied,
	isFinishedMember,
	isStepVoid,
	narrowed,
	nextPlan,
	optimizerStepOf,
	partsOf,
	replicaIn,
	roundEnd,
	steppedReplicas,
	waitingMembers,
} from './main-server-plans.ts';
import {adoptionOf, noSharing, sharedBlocks} from './shared-blocks.ts';
import * as ends from './u-shape.ts';
import {unprovidedAction, unprovidedPass} from './unprovided.ts';

const machineSetup = setup({
	types: {
		context: {} as MainServerContext,
		events: {} as MainServerEvent,
		input: {} as MainServerInput,
		/** `bound`: a pass goes on from what the one before it keeps, which no checkpoint has. */
		tags: {} as 'quiet' | 'bound',
		output: {} as {failure: string | null},
	},
	actors: {
		mainStep: unprovidedPass<MainServerEvent>('mainStep'),
		mainForward: unprovidedPass<MainServerEvent>('mainForward'),
		mainBackward: unprovidedPass<MainServerEvent>('mainBackward'),
		averageReplicas: unprovidedPass<MainServerEvent>('averageReplicas'),
		adoptShared: unprovidedPass<MainServerEvent>('adoptShared'),
		readShared: unprovidedPass<MainServerEvent>('readShared'),
		readAdapter: unprovidedPass<MainServerEvent>('readAdapter'),
	},
	actions: {send: (_, _message: Outgoing) => unprovidedAction('send')()},
	guards: {
		isOwnWelcome: ({context, event}) => event.type === 'welcome' && event.from === context.fedServerId,
		isWelcome: ({context}) => context.isWelcome,
		isNewRound: ({context, event}) => event.type === 'round-opened' && event.body.round > context.round,
		isSameRound: ({context, event}) => event.type === 'round-opened' && event.body.round === context.round,
		isOwnPace: ({context}) => context.isOwnPace,
		hasStep: ({context}) => nextPlan(context) !== undefined,
		hasForward: ({context}) => ends.hasLabelsAtClients(context) && nextPlan(context) !== undefined,
		isAbandoned: ({context}) => ends.isAbandoned(context),
		areTailsHere: ({context}) => ends.areTailsHere(context),
		isStepVoid: ({context}) => isStepVoid(context),
		isDeadlineRunning: ({context}) =>
			context.update.kind === 'parallel' &&
			context.stepClosing.kind === 'quorum' &&
			context.inbox.size > 0 &&
			waitingMembers(context).length > 0,
		isNobodyWaiting: ({context}) => waitingMembers(context).length === 0,
		isAveraging: ({context}) => context.averaging.length > 0,
		isAdopting: ({context}) => context.adoption !== null,
		isShareAsked: ({context}) => context.sharedAsked !== null,
		isPublishing: ({context}) => context.isPublishing,
		isOver: ({context}) => context.isOver,
	},
	delays: {
		answerTimeout: ({context}) => delayOf(context.answerTimeoutMs),
		stepDeadline: ({context: {stepClosing}}) => (stepClosing.kind === 'quorum' ? delayOf(stepClosing.deadlineMs) : 0),
	},
});

/** Opens the door to a client, or says why not. */
const greet = machineSetup.enqueueActions(({context, event, enqueue}) => {
	if (event.type !== 'hello' || event.fromKind !== 'client') return;
	const refusal = say.helloRefusal(context, event);
	enqueue({type: 'send', params: refusal ?? say.welcome(context, event)});
	if (refusal) return;
	const {from, body} = event;
	const isReturn = body.incarnation > (entryOf(context.incarnations, from) ?? -1);
	enqueue.assign({incarnations: withEntry(context.incarnations, from, body.incarnation)});
	if (context.agreement.cuts) enqueue.assign({cuts: withEntry(context.cuts, from, body.agreement.cut)});
	if (!isReturn) return;
	// What a former incarnation left here is not the new one's; what is under way is applied and stays its own.
	const isUnderWay = context.plan.some(({client}) => client === from);
	if (!isUnderWay || !ends.isFinishable(context, from)) enqueue.assign(inboxWithout(context, [from]));
	enqueue.assign(early.earlyWithout(context, [from]));
});

/** Takes a batch in, answers a repeat from the store, refuses what is too old. */
const takeActivations = machineSetup.enqueueActions(({context, event, enqueue}) => {
	if (event.type !== 'activations') return;
	const verdict = say.judge(context, event);
	if (verdict.answer) enqueue({type: 'send', params: verdict.answer});
	// A batch that was sent again still waits: was a round's opening or somebody's leaving lost?
	if (verdict.isWaiting) enqueue({type: 'send', params: say.hello({context})});
	if (!verdict.isTaken) return;
	const {arrivals, inbox, queue} = context;
	if (context.early) {
		const batch = {...event.body, client: event.from, arrival: arrivals};
		enqueue.assign({arrivals: arrivals + 1, ...early.withArrival(context, batch)});
		return;
	}
	const kept = entryOf(inbox, event.from) ? inboxWithout(context, [event.from]) : {inbox, queue};
	enqueue.assign({
		...kept,
		arrivals: arrivals + 1,
		inbox: withEntry(kept.inbox, event.from, {...event.body, client: event.from, arrival: arrivals}),
		queue: withEntry(kept.queue, `${arrivals}`, event.from),
	});
});

const takeRound = machineSetup.assign(({context, event}) => {
	if (event.type !== 'round-opened') return {};
	const {round, steps, adapterVersion, cohort, tensors} = event.body;
	return {
		...roundEnd(context),
		...adoptionOf(context, tensors),
		sharedAsked: null,
		isRoundClosed: false,
		round,
		steps,
		nextStep: 0,
		adapterVersion,
		cohort,
		cohortSize: cohort.length,
		finished: 0,
		isDeadlinePast: false,
		isPublishing: context.isAdapterPublished,
	};
});

/** Asynchronous rounds: who trains, and the newest version; no round of all is ever open. */
const takeVersion = machineSetup.assign(({context, event}) => {
	if (event.type !== 'round-opened') return {};
	const {steps, adapterVersion, cohort} = event.body;
	const isNew = adapterVersion > context.adapterVersion || context.steps === 0;
	const isPublishing = context.isPublishing || (isNew && context.isAdapterPublished);
	return {steps, adapterVersion: Math.max(adapterVersion, context.adapterVersion), cohort, isPublishing};
});

/** The open round, told again: who is no longer awaited is not waited for here either. */
const narrowCohort = machineSetup.assign(({context, event}) => {
	if (event.type !== 'round-opened') return {};
	const awaited = event.body.cohort;
	return narrowed(
		context,
		context.cohort.filter(({client}) => memberOf(awaited, client)),
	);
});

/** A step whose quorum cannot be met is nobody's: those that wait go on with the next, and nothing is trained. */
const skipStep = machineSetup.enqueueActions(({context, enqueue}) => {
	const nextStep = context.nextStep + 1;
	const missed = say.missedBy(context, {nextStep, answered: []});
	for (const key of missed) enqueue({type: 'send', params: say.stepSkipped(key, nextStep)});
	const waiting = missed.map(({client}) => client);
	enqueue.assign({nextStep, isDeadlinePast: false, ...inboxWithout(context, waiting)});
});

/** Sends each client its gradient and keeps the answer for repeats. */
const answerStep = machineSetup.enqueueActions(({context, event, enqueue}) => {
	if (event.type !== 'mainStep.done' && event.type !== 'mainBackward.done') return;
	const losses =
		event.type === 'mainStep.done'
			? event.losses
			: context.plan.map(({client}) => entryOf(context.inbox, client)?.tailGradient?.loss ?? 0);
	const serverVersion = context.serverVersion + (event.isApplied ? 1 : 0);
	const replies = say.repliesOf(context, {losses, tensors: event.tensors}, serverVersion);
	for (const reply of replies) enqueue({type: 'send', params: say.gradient(reply)});
	const nextStep = Math.max(context.nextStep, ...replies.map(reply => reply.step + 1));
	const answered = replies.map(reply => reply.client);
	// Whose batch came while the others' step was under way has missed it.
	const missed = context.update.kind === 'parallel' ? say.missedBy(context, {nextStep, answered}) : [];
	for (const key of missed) enqueue({type: 'send', params: say.stepSkipped(key, nextStep)});
	enqueue.assign({
		serverVersion,
		isDeadlinePast: false,
		replicas: steppedReplicas(context, event.isApplied),
		nextStep,
		accumulated: event.isApplied ? 0 : context.accumulated + 1,
		finished: context.finished + replies.filter(reply => isFinishedMember(context, reply)).length,
		...inboxWithout(context, [...answered, ...missed.map(({client}) => client)]),
		...early.withEarlierReplies(context, answered),
		replies: replies.reduce((kept, reply) => withEntry(kept, reply.client, reply), context.replies),
		plan: [],
	});
	if (context.early) enqueue.assign(({context: after}) => early.promoted(after, answered));
});

const losePeers = machineSetup.assign(({context, event}) => {
	const gone = event.type === 'roster-changed' ? event.body.left : event.type === 'leave' ? [event.from] : [];
	const left = {...inboxWithout(context, gone), ...early.earlyWithout(context, gone)};
	return {...narrowed(context, cohortWithout(context.cohort, gone)), ...left};
});

/** The round is over: nothing is trained in it any more, and its end is told, or what this server missed is asked for. */
const closeRound = machineSetup.enqueueActions(({context, event, enqueue}) => {
	if (event.type !== 'shared-blocks-asked') return;
	const {round} = event.body;
	if (round > context.round) enqueue({type: 'send', params: say.hello({context})});
	if (round === context.round) enqueue.assign({isRoundClosed: true, sharedAsked: round});
});

const beginAdoption = machineSetup.assign(({context}) => ({adopting: context.adoption, adoption: null}));

const tellShared = machineSetup.enqueueActions(({context, event, enqueue}) => {
	// A round that opened meanwhile no longer asks.
	if (event.type !== 'readShared.done' || context.sharedAsked === null) return;
	enqueue({type: 'send', params: sharedBlocks(context, context.sharedAsked, event.tensors)});
	enqueue.assign({sharedAsked: null});
});

const takePlan = machineSetup.assign(({context}) => ({plan: nextPlan(context)!}));

/** Each client of the step gets what its end of the model goes on from. */
const sendTailOutputs = machineSetup.enqueueActions(({context, event, enqueue}) => {
	if (event.type !== 'mainForward.done') return;
	const inbox = ends.withTailOutputs(context, event.tensors);
	for (const {client} of context.plan) {
		const pending = entryOf(inbox, client);
		const message = pending && ends.tailOutput(pending, pending);
		// One that is computed again after a restore has its answer already.
		if (message && !pending.tailGradient) enqueue({type: 'send', params: message});
	}
	enqueue.assign({inbox, forwarded: context.plan.map(({client}) => client)});
});

const takeTailGradient = machineSetup.enqueueActions(({context, event, enqueue}) => {
	if (event.type !== 'tail-gradient') return;
	const {taken, answer} = ends.judgeTail(context, event, say.gradient);
	if (answer) enqueue({type: 'send', params: answer});
	if (taken) enqueue.assign({inbox: withEntry(context.inbox, event.from, taken)});
});

const finishPlan = machineSetup.assign(({context}) => ({plan: ends.finishedPlan(context)}));

/** Nobody finishes the step: its batches are gone or of a round that is over. */
const dropPlan = machineSetup.assign(({context}) => ({
	plan: [],
	...inboxWithout(
		context,
		context.plan
			.map(({client}) => client)
			.filter(client => (entryOf(context.inbox, client)?.round ?? context.round) < context.round),
	),
}));

export const mainServerMachine = machineSetup.createMachine({
	id: 'main-server',
	context: ({input}) => ({
		...input,
		round: -1,
		steps: 0,
		nextStep: 0,
		adapterVersion: 0,
		cohort: [],
		cohortSize: 0,
		isDeadlinePast: false,
		replicas: emptyTable,
		averaging: [],
		...noSharing,
		incarnations: emptyTable,
		cuts: emptyTable,
		inbox: emptyTable,
		queue: emptyTable,
		oldestArrival: 0,
		replies: emptyTable,
		finished: 0,
		arrivals: 0,
		plan: [],
		forwarded: [],
		serverVersion: 0,
		accumulated: 0,
		isPublishing: false,
		isPauseAsked: false,
		isWelcome: false,
		isOver: false,
		failure: null,
		...(input.credit > 1 && {early: emptyTable, earlierReplies: emptyTable}),
	}),
	initial: 'joining',
	on: {
		'host.changed': {actions: assign(({event}) => event.input)},
		hello: {actions: greet},
		activations: {actions: takeActivations},
		'tail-gradient': {actions: takeTailGradient},
		'round-opened': [
			{guard: 'isOwnPace', actions: takeVersion},
			{guard: 'isNewRound', actions: takeRound},
			{guard: 'isSameRound', actions: narrowCohort},
		],
		'roster-changed': {actions: losePeers},
		leave: {actions: losePeers},
		'shared-blocks-asked': {actions: closeRound},
		'run-finished': {
			actions: assign(({context, event}) => ({
				...roundEnd(context),
				...adoptionOf(context, event.body.tensors),
				isOver: true,
				adapterVersion: event.body.adapterVersion,
				isPublishing: context.isAdapterPublished,
			})),
		},
		'host.pause': {actions: assign({isPauseAsked: true})},
		'host.resume': {actions: assign({isPauseAsked: false})},
		'host.restored': {actions: assign({isPauseAsked: false})},
		'pass.failed': {
			target: '.failed',
			actions: assign({failure: ({event}) => `${event.pass} failed: ${event.error}`}),
		},
	},
	states: {
		joining: {
			tags: 'quiet',
			entry: {type: 'send', params: say.hello},
			always: {guard: 'isWelcome', target: 'collecting'},
			after: {answerTimeout: {target: 'joining', reenter: true}},
			on: {
				welcome: {guard: 'isOwnWelcome', target: 'collecting', actions: assign({isWelcome: true})},
				refused: {target: 'failed', actions: assign({failure: ({event}) => say.refusalText(event)})},
				'host.restored': {target: 'joining', reenter: true, actions: assign({isPauseAsked: false})},
			},
		},
		collecting: {
			tags: 'quiet',
			always: [
				{guard: 'isAdopting', target: 'adoptingShared', actions: beginAdoption},
				{guard: 'isShareAsked', target: 'readingShared'},
				{guard: 'isAveraging', target: 'averaging'},
				{guard: 'isPublishing', target: 'publishing'},
				{guard: 'isOver', target: 'finished'},
				{guard: 'hasForward', target: 'forwarding', actions: takePlan},
				{guard: 'hasStep', target: 'stepping', actions: takePlan},
				{guard: 'isStepVoid', target: 'collecting', reenter: true, actions: skipStep},
				{guard: 'isDeadlineRunning', target: 'awaitingQuorum'},
			],
		},
		awaitingQuorum: {
			tags: 'quiet',
			after: {stepDeadline: {actions: assign({isDeadlinePast: true})}},
			always: [
				{guard: 'isOver', target: 'collecting'},
				{guard: 'isShareAsked', target: 'collecting'},
				{guard: 'hasStep', target: 'stepping', actions: takePlan},
				{guard: 'isStepVoid', target: 'collecting', actions: skipStep},
				{guard: 'isNobodyWaiting', target: 'collecting'},
			],
			on: {'host.restored': {target: 'awaitingQuorum', reenter: true, actions: assign({isPauseAsked: false})}},
		},
		adoptingShared: {
			invoke: {src: 'adoptShared', input: ({context}) => ({tensors: {adapter: context.adopting!}})},
			on: {'adoptShared.done': {target: 'collecting', actions: assign({adopting: null})}},
		},
		readingShared: {
			invoke: {src: 'readShared', input: () => ({})},
			on: {'readShared.done': {target: 'collecting', actions: tellShared}},
		},
		averaging: {
			invoke: {src: 'averageReplicas', input: ({context}) => ({members: context.averaging})},
			on: {'averageReplicas.done': {target: 'collecting', actions: assign({averaging: []})}},
		},
		stepping: {
			invoke: {
				src: 'mainStep',
				input: ({context}) => ({
					parts: partsOf(context),
					isApplied: isApplied(context),
					optimizerStep: optimizerStepOf(context),
					...replicaIn(context),
					tensors: Object.fromEntries(
						context.plan.map(({client}, index) => [`${index}`, entryOf(context.inbox, client)!.tensors]),
					),
				}),
			},
			on: {'mainStep.done': {target: 'collecting', actions: answerStep}},
		},
		forwarding: {
			invoke: {
				src: 'mainForward',
				input: ({context}) => ({
					parts: partsOf(context),
					...replicaIn(context),
					tensors: Object.fromEntries(
						context.plan.map(({client}, index) => [`${index}`, entryOf(context.inbox, client)!.tensors]),
					),
				}),
			},
			on: {'mainForward.done': {target: 'awaitingTails', actions: sendTailOutputs}},
		},
		awaitingTails: {
			tags: 'quiet',
			always: [
				{guard: 'isAbandoned', target: 'collecting', actions: dropPlan},
				{guard: 'areTailsHere', target: 'backwarding', actions: finishPlan},
			],
			// What the backward pass needs is not in a checkpoint: the forward pass is done again.
			on: {'host.restored': {target: 'forwarding', actions: [assign({isPauseAsked: false}), finishPlan]}},
		},
		backwarding: {
			tags: 'bound',
			invoke: {
				src: 'mainBackward',
				input: ({context}) => ({
					parts: partsOf(context).map(part => ({...part, place: context.forwarded.indexOf(part.client)})),
					isApplied: isApplied(context),
					optimizerStep: optimizerStepOf(context),
					...replicaIn(context),
					tensors: Object.fromEntries(
						context.plan.map(({client}, index) => [`${index}`, entryOf(context.inbox, client)!.tailGradient!.tensors]),
					),
				}),
			},
			on: {'mainBackward.done': {target: 'collecting', actions: answerStep}},
		},
		publishing: {
			invoke: {src: 'readAdapter', input: () => ({})},
			on: {
				'readAdapter.done': {
					target: 'collecting',
					actions: [{type: 'send', params: say.serverAdapter}, assign({isPublishing: false})],
				},
			},
		},
		finished: {tags: 'quiet', type: 'final'},
		failed: {tags: 'quiet', type: 'final'},
	},
	output: ({context}) => ({failure: context.failure}),
});
