/**
The main server: holds the tail, turns activations into losses and gradients, and trains the tail's adapter.
A step's key is (client, round, step): a repeat gets the stored reply and is never applied twice.

Pure: what it does to the world is the action `send` and its passes, all provided by the host.
*/
import {assign, setup} from 'xstate';
import type {Outgoing} from '../protocols/events.ts';
import {emptyTable, entryOf, withEntry, withoutEntries, withoutEntry} from '../protocols/table.ts';
import {cohortWithout, memberOf} from './cohort.ts';
import {delayOf} from './delays.ts';
import type {MainServerContext, MainServerEvent, MainServerInput, Reply} from './main-server-context.ts';
import * as say from './main-server-messages.ts';
import {hasEnough, planStep, type StepPlan, type WaitingBatch} from './policies/server-update.ts';
import {unprovidedAction, unprovidedPass} from './unprovided.ts';

/** The batches of the inbox in order of arrival. */
function* inOrder({inbox, queue, oldestArrival, arrivals, serverVersion}: MainServerContext): Iterable<WaitingBatch> {
	for (let arrival = oldestArrival; arrival < arrivals; arrival++) {
		const client = entryOf(queue, `${arrival}`);
		if (client === undefined) continue;
		const {round, step, serverVersionSeen} = entryOf(inbox, client)!;
		yield {client, round, step, staleness: Math.max(0, serverVersion - serverVersionSeen)};
	}
}

const nextPlan = (context: MainServerContext): StepPlan | undefined => {
	const {update, round, cohort, inbox, finished} = context;
	if (!hasEnough(update, {cohort: cohort.length, waiting: inbox.size, finished})) return undefined;
	return planStep(update, {round, cohort, waiting: inOrder(context), finished});
};

/** What the step pass needs of each batch, in the plan's order. */
const partsOf = ({plan, inbox}: MainServerContext) =>
	plan.map(({client, weight}) => {
		const {lengths, targets, round, step} = entryOf(inbox, client)!;
		return {client, weight, lengths, targets, round, step};
	});

/** Gradients are applied every `accumulation` steps and at the round's last one. */
const isApplied = ({accumulation, accumulated, plan, inbox, steps, update}: MainServerContext) => {
	const step = Math.max(...plan.map(({client}) => entryOf(inbox, client)!.step));
	const isLast = update.kind === 'parallel' && step + 1 >= steps;
	return accumulated + 1 >= accumulation || isLast;
};

type Inbox = Pick<MainServerContext, 'inbox' | 'queue' | 'oldestArrival'>;

/** The inbox without the batches of these clients. */
function inboxWithout({inbox, queue, oldestArrival, arrivals}: MainServerContext, clients: readonly string[]): Inbox {
	const gone = clients.flatMap(client => entryOf(inbox, client)?.arrival ?? []);
	const left = withoutEntries(queue, gone.map(String));
	let oldest = oldestArrival;
	while (oldest < arrivals && entryOf(left, `${oldest}`) === undefined) oldest++;
	return {inbox: withoutEntries(inbox, clients), queue: left, oldestArrival: oldest};
}

const isFinished = ({round, steps}: Pick<MainServerContext, 'round' | 'steps'>, reply: Reply | undefined) =>
	reply !== undefined && reply.round === round && reply.step + 1 >= steps;

const isFinishedMember = (context: MainServerContext, reply: Reply) =>
	isFinished(context, reply) && memberOf(context.cohort, reply.client) !== undefined;

/** A cohort that somebody has left. */
const narrowed = (context: MainServerContext, cohort: MainServerContext['cohort']) => ({
	cohort,
	finished: cohort.filter(({client}) => isFinished(context, entryOf(context.replies, client))).length,
});

const machineSetup = setup({
	types: {
		context: {} as MainServerContext,
		events: {} as MainServerEvent,
		input: {} as MainServerInput,
		tags: {} as 'quiet',
		output: {} as {failure: string | null},
	},
	actors: {
		mainStep: unprovidedPass<MainServerEvent>('mainStep'),
		readAdapter: unprovidedPass<MainServerEvent>('readAdapter'),
	},
	actions: {send: (_, _message: Outgoing) => unprovidedAction('send')()},
	guards: {
		isOwnWelcome: ({context, event}) => event.type === 'welcome' && event.from === context.fedServerId,
		isWelcome: ({context}) => context.isWelcome,
		isNewRound: ({context, event}) => event.type === 'round-opened' && event.body.round > context.round,
		isSameRound: ({context, event}) => event.type === 'round-opened' && event.body.round === context.round,
		hasStep: ({context}) => nextPlan(context) !== undefined,
		isPublishing: ({context}) => context.isPublishing,
		isOver: ({context}) => context.isOver,
	},
	delays: {answerTimeout: ({context}) => delayOf(context.answerTimeoutMs)},
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
	if (!isReturn) return;
	// What a former incarnation left here is not the new one's.
	const replies = withoutEntry(context.replies, from);
	enqueue.assign({...inboxWithout(context, [from]), replies, ...narrowed({...context, replies}, context.cohort)});
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
	const {round, steps, adapterVersion, cohort} = event.body;
	return {round, steps, nextStep: 0, adapterVersion, cohort, finished: 0, isPublishing: context.isAdapterPublished};
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

/** Sends each client its gradient and keeps the answer for repeats. */
const answerStep = machineSetup.enqueueActions(({context, event, enqueue}) => {
	if (event.type !== 'mainStep.done') return;
	const serverVersion = context.serverVersion + (event.isApplied ? 1 : 0);
	const replies = say.repliesOf(context, event, serverVersion);
	for (const reply of replies) enqueue({type: 'send', params: say.gradient(reply)});
	const nextStep = Math.max(context.nextStep, ...replies.map(reply => reply.step + 1));
	enqueue.assign({
		serverVersion,
		nextStep,
		accumulated: event.isApplied ? 0 : context.accumulated + 1,
		finished: context.finished + replies.filter(reply => isFinishedMember(context, reply)).length,
		...inboxWithout(
			context,
			replies.map(reply => reply.client),
		),
		replies: replies.reduce((kept, reply) => withEntry(kept, reply.client, reply), context.replies),
		plan: [],
	});
});

const losePeers = machineSetup.assign(({context, event}) => {
	const gone = event.type === 'roster-changed' ? event.body.left : event.type === 'leave' ? [event.from] : [];
	return {...narrowed(context, cohortWithout(context.cohort, gone)), ...inboxWithout(context, gone)};
});

export const mainServerMachine = machineSetup.createMachine({
	id: 'main-server',
	context: ({input}) => ({
		...input,
		round: -1,
		steps: 0,
		nextStep: 0,
		adapterVersion: 0,
		cohort: [],
		incarnations: emptyTable,
		inbox: emptyTable,
		queue: emptyTable,
		oldestArrival: 0,
		replies: emptyTable,
		finished: 0,
		arrivals: 0,
		plan: [],
		serverVersion: 0,
		accumulated: 0,
		isPublishing: false,
		isPauseAsked: false,
		isWelcome: false,
		isOver: false,
		failure: null,
	}),
	initial: 'joining',
	on: {
		'host.changed': {actions: assign(({event}) => event.input)},
		hello: {actions: greet},
		activations: {actions: takeActivations},
		'round-opened': [
			{guard: 'isNewRound', actions: takeRound},
			{guard: 'isSameRound', actions: narrowCohort},
		],
		'roster-changed': {actions: losePeers},
		leave: {actions: losePeers},
		'run-finished': {actions: assign({isOver: true, isPublishing: ({context}) => context.isAdapterPublished})},
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
				{guard: 'isPublishing', target: 'publishing'},
				{guard: 'isOver', target: 'finished'},
				{guard: 'hasStep', target: 'stepping', actions: assign({plan: ({context}) => nextPlan(context)!})},
			],
		},
		stepping: {
			invoke: {
				src: 'mainStep',
				input: ({context}) => ({
					parts: partsOf(context),
					isApplied: isApplied(context),
					optimizerStep: context.serverVersion,
					tensors: Object.fromEntries(
						context.plan.map(({client}, index) => [`${index}`, entryOf(context.inbox, client)!.tensors]),
					),
				}),
			},
			on: {'mainStep.done': {target: 'collecting', actions: answerStep}},
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
