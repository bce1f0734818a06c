/**
A run in real time: starts its actors, watches them, interrupts and resumes them, wherever they run.
It opens no file but those of the run folder, and decides nothing about training.
*/
import {join} from 'node:path';
import {encodeFrame} from '../../protocols/codec.ts';
import {messageIdOf} from '../../protocols/envelope.ts';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import type {Bus, Clock, Frame} from '../../protocols/ports.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import {subjectOf} from '../../protocols/subjects.ts';
import type {NamedTensors} from '../../protocols/tensor.ts';
import {droppedText} from '../host/actor-host.ts';
import {WallClock} from '../live/clock.ts';
import {type ActorCheckpoint, type RunCheckpoint, readCheckpoint, writeCheckpoint} from './checkpoint.ts';
import {runFiles} from './folder.ts';
import {keepRows} from './metrics-file.ts';
import {privacyOf} from './privacy.ts';
import {type MetricsRow, Recorder} from './recorder.ts';
import type {ActorEvents, ActorRole, OpenActor, RunningActor} from './running-actor.ts';
import {endingOf, Stopping} from './stopping.ts';
import {type Comparison, type RunSummary, summarise} from './summary.ts';
import {openTracing, type TraceOptions, type Tracing} from './tracing.ts';

/** Everything outside a run that it needs; whoever made it closes it. */
export type World = {
	/** Time that is not the wall's; default the wall clock. */
	readonly time?: RunTime;
	/** Who takes part: the fed server first, clients last. */
	readonly roles: readonly ActorRole[];
	readonly openActor: OpenActor;
	/** A connection for the recorder. */
	readonly connect: (name: string) => Promise<Bus>;
	/** Rows seen so far that were longer than `data.tokensMax`. */
	readonly rowsCut: () => number;
	/** In virtual time: the share in which a role computed nothing. */
	readonly idleShare?: () => Readonly<Record<string, number>>;
	/** By the wall clock with devices imposed: what they said it would take beside what it took. */
	readonly beside?: (rows: readonly MetricsRow[], seconds: number) => Comparison;
};

/** A time of its own that a run lets pass: simulated, or the wall's for what a scenario describes. */
export type RunTime = {
	readonly kind: 'virtual' | 'wall';
	readonly clock: Clock;
	/** Lets time pass until `stop`; resolves earlier with the reason when nothing more can happen. */
	run(): Promise<string | undefined>;
	stop(): void;
	/** Told of the number of each record of the trace. */
	readonly recorded?: (n: number) => void;
};

export type LiveRunOptions = {
	readonly scenario: Scenario;
	/** The run's id on the bus. */
	readonly run: string;
	readonly folder: string;
	readonly isResumed: boolean;
	/** What is recorded; default nothing. */
	readonly trace?: TraceOptions;
	/** Set when the rest of the run is elsewhere: the life of this part's actors, which end by leaving. */
	readonly part?: {readonly incarnation: number} | undefined;
	/** Awaited once every actor is done, while the end is still being said. */
	readonly onOver?: (() => Promise<void>) | undefined;
	/** Whether clients of other processes are there, so that the run goes on without any of its own. */
	readonly hasGuests?: (() => boolean) | undefined;
	readonly onRow?: (row: MetricsRow) => void;
	/** Something a user should read, once. */
	readonly onNotice?: (text: string) => void;
};

/** The final adapters, in f32 or the wire format of adapters: the clients' and the main server's. */
export type FinalAdapters = {readonly client: NamedTensors; readonly server: NamedTensors};

export type RunResult = {readonly summary: RunSummary; readonly adapters: FinalAdapters | undefined};

const isClient = ({kind}: ActorRole) => kind === 'client';
const failureText = ({id, failure}: RunningActor) => `${id}: ${failure}`;

/** The `leave` of a client that can no longer send it, so that nobody waits for its lease to end. */
function leaveFrame(run: string, id: string, reason: string, incarnation = 0): Frame {
	const sequence = Number.MAX_SAFE_INTEGER;
	return encodeFrame({
		subject: subjectOf({run, kind: 'client', id, verb: 'leave'}),
		messageId: messageIdOf({sender: id, incarnation, sequence}),
		sequence,
		body: {incarnation, reason},
	});
}

export class LiveRun {
	readonly #world: World;
	readonly #options: LiveRunOptions;
	readonly #rows: MetricsRow[] = [];
	readonly #dropped: Record<string, number> = {};
	readonly #actors: RunningActor[] = [];
	#clock: Clock;
	/** Why simulated time can go no further. */
	#stall: string | undefined;
	#bus: Bus | undefined;
	#recorder: Recorder | undefined;
	#tracing: Tracing | undefined;
	#status: RunSummary['status'] = 'failed';
	#isInterrupted = false;
	#isStarted = false;
	/** That checkpoints cannot be written is said once, until one is. */
	#isCheckpointMissed = false;
	readonly #stopping: Stopping;
	#finishReason: string | undefined;
	#leaving: Promise<unknown> | undefined;
	readonly #clientsMax: number;
	/** Places of clients that have ended. */
	readonly #clientsEnded = new Set<number>();
	#checkpointsUnderWay = 0;
	/** Why this part cannot go on, when the rest of the run is gone. */
	#lost: string | undefined;
	#waiting: (() => void)[] = [];

	constructor(world: World, options: LiveRunOptions) {
		this.#world = world;
		this.#clock = world.time?.clock ?? new WallClock();
		this.#options = options;
		this.#clientsMax = world.roles.filter(isClient).length;
		this.#stopping = new Stopping(options.scenario.stop);
	}

	/** Runs to the end, to an interruption, or to the first failure of a server; closes its connections in every case. */
	async run(): Promise<RunResult> {
		try {
			const checkpoint = this.#options.isResumed ? await readCheckpoint(this.#path(runFiles.checkpoints)) : undefined;
			if (checkpoint) await this.#takeUp(checkpoint);
			this.#recorder = await this.#record();
			this.#tracing = await this.#trace();
			await this.#openActors(checkpoint);
			// The header is record 0.
			this.#world.time?.recorded?.(0);
			for (const actor of this.#startOrder({isRestored: checkpoint !== undefined})) await actor.start();
			this.#isStarted = true;
			const {timeMs} = this.#options.scenario.stop;
			const timer = timeMs && this.#clock.setTimeout(() => this.#finish(`stop.timeMs ${timeMs} is over`), timeMs);
			for (const place of this.#actors.keys()) this.#changed(place);
			if (this.#isInterrupted) this.#pause();
			this.#letTimePass();
			await this.#until(() => this.#isOver || this.#isAtRest);
			if (timer) this.#clock.clearTimeout(timer);
			this.#world.time?.stop();
			if (this.#failure === undefined && this.#isAllDone) await this.#options.onOver?.();
			const result = await this.#conclude();
			this.#status = result.summary.status;
			return result;
		} finally {
			this.#world.time?.stop();
			await this.#stop();
			await this.#tracing?.close(this.#status);
			await this.#recorder?.close();
			await this.#bus?.close();
		}
	}

	/**
	A restored fed server opens a round as it starts: the main server and the evaluator are there to hear it, and clients come
	after it, since what they say is to be heard; by their hello they hear of the round in any case.
	*/
	#startOrder({isRestored}: {isRestored: boolean}): readonly RunningActor[] {
		if (!isRestored) return this.#actors;
		const placeOf = ({kind}: ActorRole) => (kind === 'client' ? 2 : kind === 'fed-server' ? 1 : 0);
		return this.#actors.toSorted((a, b) => placeOf(a) - placeOf(b));
	}

	#letTimePass(): void {
		const ending = this.#world.time?.run().catch((error: unknown) => errorText(error));
		void ending?.then(reason => {
			this.#stall = reason;
			this.#wake();
		});
	}

	/** Lets the round under way be the last, for the first reason that comes. */
	#finish(reason: string | undefined): void {
		if (reason === undefined || this.#finishReason !== undefined) return;
		this.#finishReason = reason;
		this.#actors.find(actor => actor.kind === 'fed-server')?.finish?.();
	}

	/** Stops at the next step boundary and leaves a checkpoint. */
	interrupt(): void {
		if (this.#isInterrupted) return;
		this.#isInterrupted = true;
		if (this.#isStarted) this.#pause();
	}

	/** The actors, once all have started. */
	get actors(): readonly RunningActor[] {
		return this.#isStarted ? this.#actors : [];
	}

	/** Time of the run, ms. */
	get ageMs(): number {
		return this.#clock.now();
	}

	/** Ends this part of a run with the reason why it cannot go on. */
	giveUp(reason: string): void {
		this.#lost ??= reason;
		this.#wake();
	}

	#pause(): void {
		for (const actor of this.#actors) actor.pause();
		this.#wake();
	}

	async #takeUp({clockMs, metricsRows}: RunCheckpoint): Promise<void> {
		// A time of its own was begun there already.
		if (this.#world.time?.kind !== 'virtual') this.#clock = new WallClock(clockMs);
		this.#rows.push(...(await keepRows(this.#path(runFiles.metrics), metricsRows)));
	}

	async #record(): Promise<Recorder> {
		this.#bus = await this.#world.connect('recorder');
		return new Recorder({
			run: this.#options.run,
			bus: this.#bus,
			path: this.#path(runFiles.metrics),
			onRow: row => {
				this.#rows.push(row);
				this.#options.onRow?.(row);
				this.#finish(this.#stopping.take(row));
			},
			onProblem: error => this.#options.onNotice?.(error.message),
		});
	}

	async #trace(): Promise<Tracing | undefined> {
		const {trace, scenario, run, folder, onNotice = () => undefined} = this.#options;
		return (
			trace &&
			openTracing({
				...trace,
				scenario,
				run,
				folder,
				connect: this.#world.connect,
				clock: this.#clock,
				clockKind: this.#world.time?.kind ?? 'wall',
				onRecord: this.#world.time?.recorded,
				onNotice,
			})
		);
	}

	async #openActors(checkpoint: RunCheckpoint | undefined): Promise<void> {
		const {scenario, run, folder, trace} = this.#options;
		for (const [place, role] of this.#world.roles.entries()) {
			const saved = checkpoint?.actors[role.id];
			const events = this.#eventsOf(role, place);
			const watch = this.#tracing?.watch();
			this.#actors.push(
				await this.#world.openActor({
					...role,
					scenario,
					run,
					folder,
					clock: this.#clock,
					saved,
					incarnation: this.#options.part?.incarnation,
					events,
					trace,
					watch,
				}),
			);
		}
	}

	#eventsOf({kind, id}: ActorRole, place: number): ActorEvents {
		return {
			changed: () => this.#changed(place),
			done: (failure, isLost) => {
				if (failure) this.#options.onNotice?.(`${id}: ${failure}`);
				if (failure && isLost && kind === 'client') this.#sayLeave(id, failure);
				this.#changed(place);
			},
			dropped: (problem, sender) => {
				if (!this.#dropped[problem.code])
					this.#options.onNotice?.(`${id} refused a message ${droppedText(problem, sender)}`);
				this.#dropped[problem.code] = (this.#dropped[problem.code] ?? 0) + 1;
			},
			checkpoint: () => this.#checkpointBetweenRounds(),
		};
	}

	/** Resolves when a condition on the actors holds; it is looked at whenever what it may depend on has changed. */
	async #until(holds: () => boolean): Promise<void> {
		while (!holds()) await new Promise<void>(resolve => this.#waiting.push(resolve));
	}

	/**
	Whether the run is over depends on who has ended, and only the end of a server or of the last client can settle it. Whether
	everybody rests matters to an interruption or a checkpoint alone: nothing that grows with the fleet is done at each step.
	*/
	#changed(place: number): void {
		const actor = this.#actors[place];
		if (this.#isInterrupted || this.#checkpointsUnderWay > 0 || !actor) {
			this.#wake();
			return;
		}
		if (!actor.isDone) return;
		if (isClient(actor)) this.#clientsEnded.add(place);
		if (!isClient(actor) || this.#clientsEnded.size === this.#clientsMax) this.#wake();
	}

	#wake(): void {
		for (const resolve of this.#waiting.splice(0)) resolve();
	}

	get #isOver(): boolean {
		return this.#isAllDone || this.#failure !== undefined;
	}

	/** In simulated time the word that the run is over may be lost to somebody: the fed server has ended all the same. */
	get #isAllDone(): boolean {
		return this.#actors.every(actor => actor.isDone || (this.#stall !== undefined && this.#isFedServerDone));
	}

	get #isFedServerDone(): boolean {
		return this.#actors.some(actor => actor.kind === 'fed-server' && actor.isDone && !actor.failure);
	}

	/**
	With all clients done there is nothing to go on with: the last evaluation is waited for. So is the end of the clients once the
	fed server has ended: it would not say again that the run is over.
	*/
	get #isAtRest(): boolean {
		if (this.#isFedServerDone) return false;
		const isTraining = this.#actors.some(actor => (isClient(actor) || this.#options.part) && !actor.isDone);
		return this.#isInterrupted && isTraining && this.#actors.every(actor => actor.isQuiet);
	}

	/** Why a server, or every client, gave up. */
	get #failure(): string | undefined {
		if (this.#lost !== undefined) return this.#lost;
		const failed = this.#actors.filter(actor => actor.isDone && actor.failure);
		const clients = this.#actors.filter(isClient);
		const lost = failed.filter(isClient);
		if (clients.length > 0 && lost.length === clients.length && !this.#options.hasGuests?.()) {
			return `every client gave up: ${lost.map(failureText).join('; ')}`;
		}
		const server = failed.find(actor => !isClient(actor));
		return server ? failureText(server) : this.#isFedServerDone ? undefined : this.#stall;
	}

	async #conclude(): Promise<RunResult> {
		const failure = this.#failure;
		const isDone = !failure && this.#isAllDone;
		if (this.#options.part) this.#leave(isDone ? 'the run is over' : 'left the run');
		else if (!isDone && !failure) await this.#checkpoint({isLast: true});
		const adapters = failure ? undefined : await this.#finalAdapters();
		// Their last reports reach the broker before the recorder asks for what is there.
		await this.#stop();
		await this.#recorder?.close();
		const {scenario, run, folder} = this.#options;
		const lost = this.#actors.filter(actor => actor.failure).map(failureText);
		const reached = this.#finishReason === undefined ? endingOf(scenario) : `stopped: ${this.#finishReason}`;
		const ending = [reached, ...lost.map(text => `without ${text}`)].join('; ');
		const seconds = this.#clock.now() / 1000;
		const privacy = privacyOf(scenario, this.#rows);
		const facts = {
			name: scenario.name,
			run,
			status: failure ? 'failed' : isDone ? 'done' : 'interrupted',
			reason:
				failure ??
				(isDone ? ending : this.#options.part ? 'left the run' : `go on with: cutlayer run --resume ${folder}`),
			dropped: this.#dropped,
			rowsCut: this.#world.rowsCut(),
			...(privacy && {privacy}),
			...(this.#world.idleShare && {idleShare: this.#world.idleShare()}),
			...(this.#world.beside && {beside: this.#world.beside(this.#rows, seconds)}),
			seconds,
		} as const;
		return {summary: summarise(this.#rows, facts), adapters};
	}

	#leave(reason: string): void {
		for (const {id, failure} of this.#actors.filter(isClient)) if (!failure) this.#sayLeave(id, reason);
	}

	#sayLeave(id: string, reason: string): void {
		const {run, part} = this.#options;
		this.#bus?.publish(leaveFrame(run, id, reason, part?.incarnation));
	}

	async #finalAdapters(): Promise<FinalAdapters> {
		const read = async (kind: ActorRole['kind']) =>
			(await this.#actors.find(actor => actor.kind === kind)?.readAdapter()) ?? {};
		return {client: await read('fed-server'), server: await read('main-server')};
	}

	/** A restored fed server asks again for the checkpoint it was restored from: nothing is there to be written. */
	async #checkpointBetweenRounds(): Promise<void> {
		if (!this.#isStarted || this.#isInterrupted) return;
		try {
			await this.#checkpoint({isLast: false});
			this.#isCheckpointMissed = false;
		} catch (error) {
			if (!(error instanceof CutlayerError)) throw error;
			if (!this.#isCheckpointMissed)
				this.#options.onNotice?.(`${error.message}; the run goes on without new checkpoints until one can be written`);
			this.#isCheckpointMissed = true;
		}
	}

	async #checkpoint({isLast}: {isLast: boolean}): Promise<void> {
		const clients = this.#actors.filter(isClient);
		for (const client of clients) client.pause();
		this.#checkpointsUnderWay++;
		try {
			await this.#until(() => clients.every(client => client.isQuiet));
			const actors = await this.#saveAll({isLast});
			// Reports that were on their way belong to it: the publishers have flushed, now the recorder.
			await this.#bus?.flush();
			const checkpoint = {clockMs: this.#clock.now(), metricsRows: this.#rows.length, actors};
			const {keep} = this.#options.scenario.checkpoint;
			await writeCheckpoint(this.#path(runFiles.checkpoints), checkpoint, keep);
		} finally {
			this.#checkpointsUnderWay--;
			if (!this.#isInterrupted) for (const client of clients) client.resume();
		}
	}

	/**
	Clients come first: what a server knows may be one step ahead of them, since it answers a repeat from its store, and
	never behind. Who gave up is left out and begins anew when the run is resumed.
	*/
	async #saveAll(options: {isLast: boolean}): Promise<Record<string, ActorCheckpoint>> {
		const saved: Record<string, ActorCheckpoint> = {};
		const present = this.#actors.filter(actor => !actor.failure && !actor.isAway);
		// Who only listens comes last: what the servers told it before they were saved is not told again.
		const isListener = (actor: RunningActor) => actor.kind === 'evaluator';
		const servers = present.filter(actor => !isClient(actor) && !isListener(actor));
		for (const group of [present.filter(isClient), servers, present.filter(isListener)]) {
			await Promise.all(
				group.map(async actor => {
					saved[actor.id] = await actor.save(options);
				}),
			);
		}
		return saved;
	}

	#stop(): Promise<unknown> {
		this.#leaving ??= Promise.all(this.#actors.map(actor => actor.stop()));
		return this.#leaving;
	}

	#path(name: string): string {
		return join(this.#options.folder, name);
	}
}
