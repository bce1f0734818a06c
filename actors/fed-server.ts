/**
The fed server: owns membership, rounds, the global client adapter and its version. It opens a round, waits for the
cohort's uploads as its closing rule says, aggregates, and opens the next until the run's steps are done.

Pure: what it does to the world is the action `send` and its passes, all provided by the host.
*/
import {assign, not, setup} from 'xstate';
import type {Outgoing} from '../protocols/events.ts';
import {emptyTable, entriesOf, entryOf, mapTable, valuesOf, withEntry, withoutEntries} from '../protocols/table.ts';
import {memberOf} from './cohort.ts';
import {type FedServerContext, type FedServerEvent, type FedServerInput, roundSteps} from './fed-server-context.ts';
import * as say from './fed-server-messages.ts';
import {planAggregation} from './policies/aggregation.ts';
import {planClosing} from './policies/round-closing.ts';
import {selectAll} from './policies/selection.ts';
import {unprovidedAction, unprovidedPass} from './unprovided.ts';

const silentChecksMax = 3;

const closingOf = ({closing, cohort, uploads, gone, isDeadlinePast}: FedServerContext) =>
	planClosing(closing, {
		cohort: cohort.length,
		arrived: uploads.size,
		gone: gone.length,
		isDeadlinePast,
	});

/** The uploads that count, in order of the cohort so that sums do not depend on arrival. */
const uploadsInOrder = ({cohort, uploads}: FedServerContext) =>
	cohort.flatMap(member => entryOf(uploads, member.client) ?? []);

const aggregationOf = (context: FedServerContext) => planAggregation(context.aggregation, uploadsInOrder(context));

const machineSetup = setup({
	types: {
		context: {} as FedServerContext,
		events: {} as FedServerEvent,
		input: {} as FedServerInput,
		tags: {} as 'quiet',
		output: {} as {failure: string | null},
	},
	actors: {
		readAdapter: unprovidedPass<FedServerEvent>('readAdapter'),
		aggregate: unprovidedPass<FedServerEvent>('aggregate'),
		checkpoint: unprovidedPass<FedServerEvent>('checkpoint'),
	},
	actions: {send: (_, _message: Outgoing) => unprovidedAction('send')()},
	guards: {
		isPauseAsked: ({context}) => context.isPauseAsked,
		isComplete: ({context}) =>
			context.roster.size + context.gone.length >= context.clientsExpected &&
			(context.isMainServerHere || !context.hasMainServer),
		hasData: ({context}) => valuesOf(context.roster).some(member => member.samples > 0),
		isTrained: ({context}) => context.isFinishAsked || context.stepsDone >= context.stepsTotal,
		isDeserted: ({context}) => context.roster.size === 0 && !context.isFinishAsked,
		isClosed: ({context}) => closingOf(context) === 'close',
		isVoid: ({context}) => closingOf(context) === 'void',
		/** Not after the last round: what goes on from there would end before anybody hears it. */
		isCheckpointed: ({context: {round, checkpointEveryRounds, stepsDone, stepsTotal}}) =>
			checkpointEveryRounds > 0 && (round + 1) % checkpointEveryRounds === 0 && stepsDone < stepsTotal,
		hasLease: ({context}) => context.leaseMs > 0,
		hasDeadline: ({context}) => context.closing.kind !== 'all',
		/** Nobody has trained a step: there is nothing to aggregate. */
		isClosedEmpty: ({context}) => closingOf(context) === 'close' && aggregationOf(context).members.length === 0,
	},
	delays: {
		leaseCheck: ({context}) => context.leaseMs / silentChecksMax,
		deadline: ({context}) => (context.closing.kind === 'all' ? 0 : context.closing.deadlineMs),
	},
});

/** Opens the door, or says why not; a joiner hears of the round in progress, the main server also when it asks again. */
const greet = machineSetup.enqueueActions(({context, event, enqueue}) => {
	if (event.type !== 'hello') return;
	const refusal = say.helloRefusal(context, event);
	if (refusal) return enqueue({type: 'send', params: refusal});
	enqueue({type: 'send', params: say.welcome(context, event)});
	const {from, body} = event;
	if (event.fromKind === 'main-server') {
		if (context.cohort.length > 0) enqueue({type: 'send', params: {...say.roundOpened(context), to: from}});
		return enqueue.assign({isMainServerHere: true});
	}
	const member = {incarnation: body.incarnation, samples: body.samples, silentChecks: 0};
	const gone = context.round < 0 ? context.gone.filter(client => client !== from) : context.gone;
	enqueue.assign({gone, roster: withEntry(context.roster, from, member)});
	if (say.isAwaited(context, from)) enqueue({type: 'send', params: {...say.roundOpened(context), to: from}});
});

const takeUpload = machineSetup.enqueueActions(({context, event, enqueue}) => {
	if (event.type !== 'upload') return;
	const verdict = say.judge(context, event);
	enqueue({type: 'send', params: verdict.answer});
	if (verdict.isTaken)
		enqueue.assign({uploads: withEntry(context.uploads, event.from, {...event.body, client: event.from})});
});

/** A sign of life; an idle member that missed the opening hears it again, and a stranger that it is one. */
const takeHeartbeat = machineSetup.enqueueActions(({context, event, enqueue}) => {
	if (event.type !== 'heartbeat') return;
	const member = entryOf(context.roster, event.from);
	if (!member) return enqueue({type: 'send', params: say.unknownSender(event.from)});
	if (event.body.incarnation < member.incarnation) return;
	enqueue.assign({roster: withEntry(context.roster, event.from, {...member, silentChecks: 0})});
	const isBehind = event.body.isIdle && event.body.round < context.round;
	if (isBehind && say.isAwaited(context, event.from)) {
		enqueue({type: 'send', params: {...say.roundOpened(context), to: event.from}});
	}
});

/** Before the first round everybody is; later the members of the cohort that have not uploaded. */
const isWaitedFor = ({round, gone, uploads, cohort}: FedServerContext, client: string) =>
	!gone.includes(client) && (round < 0 || (!entryOf(uploads, client) && memberOf(cohort, client) !== undefined));

const lose = (context: FedServerContext, left: readonly string[]) => ({
	roster: withoutEntries(context.roster, left),
	gone: [...context.gone, ...left.filter(client => isWaitedFor(context, client))],
});

const loseMember = machineSetup.enqueueActions(({context, event, enqueue}) => {
	if (event.type !== 'leave') return;
	// Who gave up before it came in is not waited for either.
	if (!entryOf(context.roster, event.from) && !isWaitedFor(context, event.from)) return;
	const after = lose(context, [event.from]);
	enqueue.assign(after);
	enqueue({type: 'send', params: say.rosterChanged(after.roster, [event.from], event.body.reason)});
});

/** Counts one more silence for every member and parts with those whose lease ended. */
const checkLeases = machineSetup.enqueueActions(({context, enqueue}) => {
	const left = entriesOf(context.roster)
		.filter(([, member]) => member.silentChecks + 1 > silentChecksMax)
		.map(([client]) => client);
	const after = lose(context, left);
	const roster = mapTable(after.roster, member => ({...member, silentChecks: member.silentChecks + 1}));
	enqueue.assign({...after, roster});
	if (left.length === 0) return;
	enqueue({type: 'send', params: say.rosterChanged(roster, left, `silent for ${context.leaseMs} ms`)});
});

const openRound = machineSetup.assign(({context}) => ({
	round: context.round + 1,
	cohort: selectAll(entriesOf(context.roster).map(([client, {samples}]) => ({client, samples}))),
	uploads: emptyTable,
	gone: [],
	isDeadlinePast: false,
}));

const unpause = machineSetup.assign({isPauseAsked: false});

export const fedServerMachine = machineSetup.createMachine({
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
		gone: [],
		stepsDone: 0,
		isDeadlinePast: false,
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
								{
									guard: 'hasData',
									target: 'collecting',
									actions: [openRound, {type: 'send', params: say.roundOpening}],
								},
								{guard: 'isDeserted', target: 'deserted'},
								{target: '#fed-server.failed', actions: assign({failure: say.nobodyHasData})},
							],
						},
						// Everybody has left: who comes next opens the next round.
						deserted: {
							tags: 'quiet',
							always: {guard: not('isDeserted'), target: 'deciding'},
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
								{guard: 'isClosedEmpty', target: 'closing', actions: {type: 'send', params: say.voidReport}},
								{guard: 'isClosed', target: 'aggregating'},
								{guard: 'isVoid', target: 'closing', actions: {type: 'send', params: say.voidReport}},
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
									actions: [assign({isPauseAsked: false}), {type: 'send', params: say.roundOpening}],
								},
							},
						},
						aggregating: {
							invoke: {
								src: 'aggregate',
								input: ({context}) => {
									const plan = aggregationOf(context);
									const handles = plan.members.map((member, index) => [
										`${index}`,
										entryOf(context.uploads, member.client)!.tensors,
									]);
									return {plan, tensors: Object.fromEntries(handles)};
								},
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
								stepsDone: context.stepsDone + roundSteps(context),
								uploads: emptyTable,
								cohort: [],
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
