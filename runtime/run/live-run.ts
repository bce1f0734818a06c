/**
A run in real time with all its actors in this process: starts them, watches them, interrupts and resumes them.
It opens no file but those of the run folder, and decides nothing about training.
*/
import {join} from 'node:path';
import {CutlayerError} from '../../protocols/errors.ts';
import type {Bus, Compute} from '../../protocols/ports.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import type {NamedTensors} from '../../protocols/tensor.ts';
import type {PackedBatch} from '../data/batches.ts';
import {type ActorHost, droppedText, type HostObserver} from '../host/actor-host.ts';
import {WallClock} from '../live/clock.ts';
import {
	type ActorContext,
	type ClientData,
	openClient,
	openEvaluator,
	openFedServer,
	openMainServer,
} from './actors.ts';
import {type RunCheckpoint, readCheckpoint, writeCheckpoint} from './checkpoint.ts';
import {runFiles} from './folder.ts';
import {keepRows} from './metrics-file.ts';
import {clientIds, type RunModel} from './plan.ts';
import {type MetricsRow, Recorder} from './recorder.ts';
import {type RunSummary, summarise} from './summary.ts';

/** Everything outside a run that it needs; whoever made it closes it. */
export type World = {
	readonly model: RunModel;
	readonly compute: Compute;
	/** A connection of its own for each actor. */
	readonly connect: (name: string) => Promise<Bus>;
	readonly clients: Readonly<Record<string, ClientData>>;
	readonly validation: readonly PackedBatch[];
	/** Rows seen so far that were longer than `data.tokensMax`. */
	readonly rowsCut: () => number;
	/** A first adapter in place of the keyed one. */
	readonly initial?: NamedTensors | undefined;
};

export type LiveRunOptions = {
	readonly scenario: Scenario;
	/** The run's id on the bus. */
	readonly run: string;
	readonly folder: string;
	readonly isResumed: boolean;
	readonly onRow?: (row: MetricsRow) => void;
	/** Something a user should read, once. */
	readonly onNotice?: (text: string) => void;
};

/** The final adapters, in f32 or the wire format of adapters: the clients' and the main server's. */
export type FinalAdapters = {readonly client: NamedTensors; readonly server: NamedTensors};

export type RunResult = {readonly summary: RunSummary; readonly adapters: FinalAdapters | undefined};

export class LiveRun {
	readonly #world: World;
	readonly #options: LiveRunOptions;
	readonly #rows: MetricsRow[] = [];
	readonly #dropped: Record<string, number> = {};
	readonly #buses: Bus[] = [];
	#hosts: ActorHost[] = [];
	#clock = new WallClock();
	#recorder: Recorder | undefined;
	#isInterrupted = false;
	#end: (() => void) | undefined;

	constructor(world: World, options: LiveRunOptions) {
		this.#world = world;
		this.#options = options;
	}

	/** Runs to the end, to an interruption, or to the first failure of a server; closes its connections in every case. */
	async run(): Promise<RunResult> {
		try {
			const checkpoint = this.#options.isResumed ? await readCheckpoint(this.#path(runFiles.checkpoints)) : undefined;
			if (checkpoint) await this.#takeUp(checkpoint);
			this.#recorder = await this.#record();
			await this.#openHosts(checkpoint);
			for (const host of this.#hosts) await host.start();
			const ended = new Promise<void>(resolve => {
				this.#end = resolve;
			});
			this.#watch();
			await ended;
			return await this.#conclude();
		} finally {
			for (const host of this.#hosts) host.stop();
			await this.#recorder?.close();
			await Promise.all(this.#buses.map(bus => bus.close()));
		}
	}

	/** Stops at the next step boundary and leaves a checkpoint. */
	interrupt(): void {
		if (this.#isInterrupted) return;
		this.#isInterrupted = true;
		for (const host of this.#hosts) if (!host.isDone) host.tell({type: 'host.pause'});
		this.#watch();
	}

	async #takeUp({clockMs, metricsRows}: RunCheckpoint): Promise<void> {
		this.#clock = new WallClock(clockMs);
		this.#rows.push(...(await keepRows(this.#path(runFiles.metrics), metricsRows)));
	}

	async #record(): Promise<Recorder> {
		return new Recorder({
			run: this.#options.run,
			bus: await this.#connect('recorder'),
			path: this.#path(runFiles.metrics),
			onRow: row => {
				this.#rows.push(row);
				this.#options.onRow?.(row);
			},
			onProblem: error => this.#options.onNotice?.(error.message),
		});
	}

	async #openHosts(checkpoint: RunCheckpoint | undefined): Promise<void> {
		const {scenario} = this.#options;
		const context = (id: string) => this.#contextFor(id, checkpoint);
		this.#hosts.push(await openFedServer(await context('fed'), () => this.#checkpointBetweenRounds()));
		if (scenario.mainServer) this.#hosts.push(await openMainServer(await context('main')));
		if (scenario.evaluation.everyRounds > 0 && this.#world.validation.length > 0) {
			this.#hosts.push(await openEvaluator(await context('evaluator'), this.#world.validation));
		}
		for (const id of clientIds(scenario))
			this.#hosts.push(await openClient(await context(id), id, this.#world.clients[id]!));
	}

	async #contextFor(id: string, checkpoint: RunCheckpoint | undefined): Promise<ActorContext> {
		const {scenario, run} = this.#options;
		const {model, compute, initial} = this.#world;
		const saved = checkpoint?.actors[id];
		const ports = {bus: await this.#connect(id), clock: this.#clock, compute};
		const observer = this.#observer(id);
		return {run, scenario, model, ports, observer, ...(saved && {saved}), ...(initial && {initial})};
	}

	async #connect(name: string): Promise<Bus> {
		const bus = await this.#world.connect(name);
		this.#buses.push(bus);
		return bus;
	}

	#observer(id: string): HostObserver {
		return {
			transition: () => this.#watch(),
			done: failure => {
				if (failure) this.#options.onNotice?.(`${id}: ${failure}`);
				// The machine's own last messages leave first.
				queueMicrotask(() => this.#watch());
			},
			dropped: (problem, sender) => {
				if (!this.#dropped[problem.code])
					this.#options.onNotice?.(`${id} refused a message ${droppedText(problem, sender)}`);
				this.#dropped[problem.code] = (this.#dropped[problem.code] ?? 0) + 1;
			},
		};
	}

	/** Ends the run when all have finished, when a server gave up, or when an interrupted run has come to rest. */
	#watch(): void {
		const hosts = this.#hosts;
		const isOver = hosts.every(host => host.isDone) || this.#failure !== undefined;
		const isAtRest = this.#isInterrupted && hosts.every(host => host.isQuiet);
		if (isOver || isAtRest) this.#end?.();
	}

	/** Why a server, or every client, gave up. */
	get #failure(): string | undefined {
		const servers = this.#hosts.filter(host => host.kind !== 'client');
		const failed = servers.find(host => host.isDone && host.failure);
		return failed ? `${failed.id}: ${failed.failure}` : undefined;
	}

	async #conclude(): Promise<RunResult> {
		const isDone = this.#hosts.every(host => host.isDone);
		const failure = this.#failure;
		if (!isDone && !failure) await this.#checkpoint();
		const adapters = failure ? undefined : await this.#finalAdapters();
		await this.#recorder?.close();
		const {scenario, run, folder} = this.#options;
		const status = failure ? 'failed' : isDone ? 'done' : 'interrupted';
		const reason = failure ?? (isDone ? 'all steps are done' : `go on with: cutlayer run --resume ${folder}`);
		const seconds = this.#clock.now() / 1000;
		const facts = {
			name: scenario.name,
			run,
			status,
			reason,
			dropped: this.#dropped,
			rowsCut: this.#world.rowsCut(),
			seconds,
		} as const;
		return {summary: summarise(this.#rows, facts), adapters};
	}

	async #finalAdapters(): Promise<FinalAdapters> {
		const {compute} = this.#world;
		const read = async (actor: string) =>
			(await compute.run({actor, pass: 'readAdapter', input: {}, tensors: {}})).tensors;
		return {client: await read('fed'), server: this.#options.scenario.mainServer ? await read('main') : {}};
	}

	/** A restored fed server asks again for the checkpoint it was restored from: nothing is there to be written. */
	async #checkpointBetweenRounds(): Promise<void> {
		if (!this.#end) return;
		try {
			await this.#checkpoint();
		} catch (error) {
			if (!(error instanceof CutlayerError)) throw error;
			this.#options.onNotice?.(`${error.message}; the run goes on without this checkpoint`);
		}
	}

	async #checkpoint(): Promise<void> {
		const {compute} = this.#world;
		const hosts = this.#hosts.map(host => [host.id, host.save()] as const);
		// Reports that are on their way belong to it: publishers first, then the recorder, whose connection is the first.
		await Promise.all(this.#buses.slice(1).map(bus => bus.flush()));
		await this.#buses[0]?.flush();
		const metricsRows = this.#rows.length;
		const saved: [string, RunCheckpoint['actors'][string]][] = [];
		for (const [id, host] of hosts) {
			saved.push([id, {host, compute: await compute.run({actor: id, pass: 'save', input: {}, tensors: {}})}]);
		}
		const checkpoint = {clockMs: this.#clock.now(), metricsRows, actors: Object.fromEntries(saved)};
		await writeCheckpoint(this.#path(runFiles.checkpoints), checkpoint);
	}

	#path(name: string): string {
		return join(this.#options.folder, name);
	}
}
