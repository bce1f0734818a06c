/**
A run while it is under way, as its command sees it: Ctrl-C interrupts it, its conductor lets others join and change it, and a
part of a run notices when the rest is gone.
*/
import {Conductor} from '../attach/conductor.ts';
import type {Speaker} from '../attach/voice.ts';
import {watchRun} from '../attach/watch-run.ts';
import {inputChanges, specOf} from '../run/change.ts';
import {LiveRun, type LiveRunOptions, type RunResult} from '../run/live-run.ts';
import {agreementOf, watchersOf} from '../run/plan.ts';
import type {ActorRole} from '../run/running-actor.ts';
import type {OpenWorld, WorldPart} from '../run/world.ts';
import type {RunView} from './run-view.ts';

/** What this process takes part with in a run whose others are elsewhere. */
export type SessionPart = WorldPart & {
	readonly incarnation: number;
	/** How long a broker that is away is waited for, ms; default 60,000. */
	readonly brokerLeaseMs?: number | undefined;
};

type SessionOptions = Pick<LiveRunOptions, 'scenario' | 'run' | 'folder' | 'isResumed' | 'trace'> & {
	readonly part: SessionPart | undefined;
	readonly view: RunView;
};

/** How long clients elsewhere may take to hear the end and leave. */
const farewellMs = 10_000;

export async function runSession(open: OpenWorld, options: SessionOptions): Promise<RunResult> {
	const {part, view, ...run} = options;
	let conductor: Conductor | undefined;
	const live = new LiveRun(open.world, {
		...run,
		...(part && {part}),
		onRow: row => view.row(row),
		onNotice: text => view.notice(text),
		onOver: async () => conductor?.farewell(farewellMs),
		hasGuests: () => conductor?.hasGuests ?? false,
	});
	const unwatch = await watchRest(open, options, live);
	try {
		conductor = await conduct(open, options, live);
		return await interruptible(live, view, part !== undefined);
	} finally {
		await unwatch();
		await conductor?.close();
	}
}

/** The process of the fed server has the conductor, where others can reach it. */
async function conduct(open: OpenWorld, {scenario, run, view}: SessionOptions, live: LiveRun) {
	const hasFedServer = open.world.roles.some(({kind}) => kind === 'fed-server');
	if (!hasFedServer || open.natsUrl === undefined || open.world.time) return undefined;
	return Conductor.open({
		run,
		scenario,
		bus: await open.world.connect('conductor'),
		agreement: agreementOf(scenario, open.model),
		watchers: watchersOf(scenario),
		now: () => live.ageMs,
		actors: () => live.actors,
		changesOf: (actor, before, after) => inputChanges(actor as ActorRole, before, after, open.model),
		specOf: (actor, changed) => specOf(actor as ActorRole, changed, open.config),
		onNotice: text => view.notice(text),
	});
}

/** Where the fed server is elsewhere, its run is watched. */
async function watchRest(open: OpenWorld, {run, part}: SessionOptions, live: LiveRun): Promise<() => Promise<void>> {
	const role = part?.roles[0];
	if (!part || !role || role.kind === 'fed-server' || open.natsUrl === undefined) return () => Promise.resolve();
	const bus = await open.connect('watch');
	const speaker: Speaker = {...role, incarnation: part.incarnation};
	const onGone = (problem = `run ${run} is gone: its fed server's process does not answer any more`) =>
		live.giveUp(problem);
	const stop = watchRun({bus, speaker, run, brokerLeaseMs: part.brokerLeaseMs, onGone});
	return async () => {
		stop();
		await bus.close();
	};
}

/** The first Ctrl-C ends the run at the next step boundary, the second at once. */
async function interruptible(live: LiveRun, view: RunView, isPart: boolean): Promise<RunResult> {
	let signals = 0;
	const onSignal = () => {
		if (++signals > 1) process.exit(130);
		const after = isPart ? 'this part leaves the run' : 'a checkpoint is written';
		view.notice(`Interrupted: the step under way is finished, then ${after}. Ctrl-C again to stop at once.`);
		live.interrupt();
	};
	process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
	try {
		return await live.run();
	} finally {
		process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
	}
}
