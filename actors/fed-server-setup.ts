/**
The words of the fed server's machine: its types, passes, guards and delays, and what it does on messages of its members.
Its states are in `fed-server.ts`.
*/
import {setup} from 'xstate';
import type {Outgoing} from '../protocols/events.ts';
import {
	emptyTable,
	entriesOf,
	entryOf,
	mapTable,
	valuesOf,
	withEntry,
	withoutEntries,
	withoutEntry,
} from '../protocols/table.ts';
import {memberOf} from './cohort.ts';
import {delayOf} from './delays.ts';
import * as own from './fed-server-assignments.ts';
import {
	type FedServerContext,
	type FedServerEvent,
	type FedServerInput,
	isCarrying,
	isOwnPace,
	isSurveyed,
	type Upload,
} from './fed-server-context.ts';
import * as say from './fed-server-messages.ts';
import * as plan from './fed-server-plans.ts';
import {cutOfUpload, isAskedFor} from './shared-blocks.ts';
import {unprovidedAction, unprovidedPass} from './unprovided.ts';

const silentChecksMax = 3;

export const fedServerSetup = setup({
	types: {
		context: {} as FedServerContext,
		events: {} as FedServerEvent,
		input: {} as FedServerInput,
		tags: {} as 'quiet',
		output: {} as {failure: string | null},
	},
	actors: {
		readAdapter: unprovidedPass<FedServerEvent>('readAdapter'),
		survey: unprovidedPass<FedServerEvent>('survey'),
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
		isTrained: ({context}) =>
			context.isFinishAsked ||
			(isOwnPace(context)
				? context.adapterVersion >= context.aggregationsTotal
				: context.stepsDone >= context.stepsTotal),
		isOwnPace: ({context}) => isOwnPace(context),
		isSurveyed: ({context}) => isSurveyed(context),
		isBufferFull: ({context}) => context.carried.length >= plan.bufferOf(context),
		isDeserted: ({context}) => context.roster.size === 0 && !context.isFinishAsked,
		hasIdle: ({context}) => context.idle.length > 0 || context.toldVersion < context.adapterVersion,
		isClosed: ({context}) => plan.closingOf(context) === 'close',
		isVoid: ({context}) => plan.closingOf(context) === 'void',
		isSharing: ({context}) => Boolean(context.sharing) && plan.closingOf(context) === 'close',
		isAskedFor: ({context, event}) => event.type === 'shared-blocks' && isAskedFor(context, event),
		/** Not after the last round: what goes on from there would end before anybody hears it. */
		isCheckpointed: ({context}) => {
			const {checkpointEveryRounds: every, round, adapterVersion, aggregationsTotal, stepsDone, stepsTotal} = context;
			if (isOwnPace(context)) return every > 0 && adapterVersion % every === 0 && adapterVersion < aggregationsTotal;
			return every > 0 && (round + 1) % every === 0 && stepsDone < stepsTotal;
		},
		hasLease: ({context}) => context.leaseMs > 0,
		hasDeadline: ({context}) => context.deadlineMs !== null,
		/** Nobody has trained a step: there is nothing to aggregate. */
		isClosedEmpty: ({context}) =>
			plan.closingOf(context) === 'close' && plan.planOf(context, plan.countedNext(context)).members.length === 0,
	},
	delays: {
		answerTimeout: ({context}) => delayOf(context.sharing?.answerTimeoutMs ?? 0),
		leaseCheck: ({context}) => context.leaseMs / silentChecksMax,
		deadline: ({context}) => context.deadlineMs ?? 0,
	},
});

/** What a member that missed its opening hears again; nothing when nothing is asked of it. */
function openingOf(context: FedServerContext, client: string): Outgoing | undefined {
	const assignment = own.openAssignment(context, client);
	if (assignment) return own.assignmentOpened(context, client, assignment);
	return say.isAwaited(context, client) ? {...say.roundOpened(context), to: client} : undefined;
}

/** Opens the door, or says why not; a joiner hears of the round in progress, the main server also when it asks again. */
export const greet = fedServerSetup.enqueueActions(({context, event, enqueue}) => {
	if (event.type !== 'hello') return;
	const refusal = say.helloRefusal(context, event);
	if (refusal) return enqueue({type: 'send', params: refusal});
	enqueue({type: 'send', params: say.welcome(context, event)});
	const {from, body} = event;
	if (event.fromKind === 'main-server') {
		if (context.cohort.length > 0) enqueue({type: 'send', params: {...say.roundOpened(context), to: from}});
		if (context.assignments.size > 0) enqueue({type: 'send', params: own.versionOpened(context, from)});
		return enqueue.assign({isMainServerHere: true});
	}
	const {incarnation, samples, agreement} = body;
	const member = {incarnation, samples, silentChecks: 0, ...(context.sharing && {cut: agreement.cut})};
	const gone = context.round < 0 ? context.gone.filter(client => client !== from) : context.gone;
	enqueue.assign({gone, roster: withEntry(context.roster, from, member)});
	const opening = openingOf(context, from);
	if (opening) enqueue({type: 'send', params: opening});
	else if (isOwnPace(context) && body.samples > 0 && !context.idle.includes(from))
		enqueue.assign({idle: [...context.idle, from], toldVersion: -1});
});

export const takeUpload = fedServerSetup.enqueueActions(({context, event, enqueue}) => {
	if (event.type !== 'upload') return;
	if (isOwnPace(context)) {
		const {taken, answer} = own.judgeOwnPace(context, event);
		enqueue({type: 'send', params: answer});
		if (!taken) return;
		return enqueue.assign({
			assignments: own.closedAssignment(context, event.from),
			idle: entryOf(context.roster, event.from) ? [...context.idle, event.from] : context.idle,
			carried: taken.stepsDone > 0 ? [...context.carried, taken] : context.carried,
		});
	}
	const verdict = say.judge(context, event);
	enqueue({type: 'send', params: verdict.answer});
	if (verdict.as === 'none') return;
	const since = verdict.as === 'late' ? entryOf(context.late, event.from)! : context;
	const cut = cutOfUpload(context, event);
	const upload: Upload = {...event.body, client: event.from, baseVersion: since.adapterVersion, ...cut};
	const {openedAtMs} = since;
	enqueue.assign({
		statistics: plan.withStatistics(context, upload, {openedAtMs, atMs: event.atMs}),
		late: withoutEntry(context.late, event.from),
		...(verdict.as === 'late'
			? {carried: plan.takenLate(context, upload)}
			: {uploads: withEntry(context.uploads, event.from, upload)}),
	});
	if (verdict.as === 'late' && !isCarrying(context))
		enqueue({type: 'send', params: say.lateReport(event.from, upload.round)});
});

/** A sign of life; an idle member that missed the opening hears it again, and a stranger that it is one. */
export const takeHeartbeat = fedServerSetup.enqueueActions(({context, event, enqueue}) => {
	if (event.type !== 'heartbeat') return;
	const member = entryOf(context.roster, event.from);
	if (!member) return enqueue({type: 'send', params: say.unknownSender(event.from)});
	if (event.body.incarnation < member.incarnation) return;
	enqueue.assign({roster: withEntry(context.roster, event.from, {...member, silentChecks: 0})});
	const round = own.openAssignment(context, event.from)?.round ?? context.round;
	if (!event.body.isIdle || event.body.round >= round) return;
	const opening = openingOf(context, event.from);
	if (opening) enqueue({type: 'send', params: opening});
});

/** Before the first round everybody is; later the members of the cohort that have not uploaded. */
const isWaitedFor = ({round, gone, uploads, cohort}: FedServerContext, client: string) =>
	!gone.includes(client) && (round < 0 || (!entryOf(uploads, client) && memberOf(cohort, client) !== undefined));

const lose = (context: FedServerContext, left: readonly string[]) => ({
	roster: withoutEntries(context.roster, left),
	gone: [...context.gone, ...left.filter(client => isWaitedFor(context, client))],
	late: withoutEntries(context.late, left),
	...(isOwnPace(context) && {
		assignments: left.reduce(
			(assignments, client) => own.closedAssignment({...context, assignments}, client),
			context.assignments,
		),
		idle: context.idle.filter(client => !left.includes(client)),
	}),
});

export const loseMember = fedServerSetup.enqueueActions(({context, event, enqueue}) => {
	if (event.type !== 'leave') return;
	// Who gave up before it came in is not waited for either.
	if (!entryOf(context.roster, event.from) && !isWaitedFor(context, event.from)) return;
	const after = lose(context, [event.from]);
	enqueue.assign(after);
	enqueue({type: 'send', params: say.rosterChanged(after.roster, [event.from], event.body.reason)});
});

/** Counts one more silence for every member and parts with those whose lease ended. */
export const checkLeases = fedServerSetup.enqueueActions(({context, enqueue}) => {
	const left = entriesOf(context.roster)
		.filter(([, member]) => member.silentChecks + 1 > silentChecksMax)
		.map(([client]) => client);
	const after = lose(context, left);
	const roster = mapTable(after.roster, member => ({...member, silentChecks: member.silentChecks + 1}));
	enqueue.assign({...after, roster});
	if (left.length === 0) return;
	enqueue({type: 'send', params: say.rosterChanged(roster, left, `silent for ${context.leaseMs} ms`)});
});

/** Opens the next round, with what the survey found where there was one. */
export const openRound = fedServerSetup.enqueueActions(({context, event, enqueue}) => {
	const survey = event.type === 'survey.done' ? event : {nowMs: null, draws: {}};
	const opened = {...plan.openedRound(context, survey), uploads: emptyTable};
	enqueue.assign(opened);
	for (const message of say.roundOpenings({...context, ...opened})) enqueue({type: 'send', params: message});
});

/** Says again what was said at the opening, to whoever missed it; a repeat has no effect. */
export const openAgain = fedServerSetup.enqueueActions(({context, enqueue}) => {
	const messages = isOwnPace(context) ? own.openingsAgain(context) : say.roundOpenings(context);
	for (const message of messages) enqueue({type: 'send', params: message});
});

/** Who is still at work in a round that has what it needs is told to stop. */
export const closeRound = fedServerSetup.enqueueActions(({context, enqueue}) => {
	if (plan.hasUntold(context)) enqueue({type: 'send', params: say.roundClosing({context})});
	enqueue.assign(plan.closedRound(context));
});

export const assignIdle = fedServerSetup.enqueueActions(({context, enqueue}) => {
	const {after, messages} = own.assignIdle(context);
	for (const message of messages) enqueue({type: 'send', params: message});
	enqueue.assign(after);
});
