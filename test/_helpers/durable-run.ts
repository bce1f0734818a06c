/**
A durable run of a tiny model over a real broker, whose actors can be killed and begun again one by one. A killed actor loses
everything but what it made durable: its connection is cut, nothing is given back.
*/
import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import type {Scenario} from '../../protocols/scenario.ts';
import {type Broker, startBroker} from '../../runtime/bus/broker.ts';
import {connectNats, type NatsBus} from '../../runtime/bus/nats.ts';
import {openRunStreams} from '../../runtime/bus/run-streams.ts';
import {WallClock} from '../../runtime/live/clock.ts';
import {durableActors} from '../../runtime/run/durability.ts';
import {localActors} from '../../runtime/run/local-actor.ts';
import {rolesOf} from '../../runtime/run/plan.ts';
import {type MetricsRow, Recorder} from '../../runtime/run/recorder.ts';
import type {ActorRole, RunningActor} from '../../runtime/run/running-actor.ts';
import {openTracing, type Tracing} from '../../runtime/run/tracing.ts';
import {findBroker} from '../../runtime/setup/find-broker.ts';
import {randomClients, type TinyBench} from './tiny-run.ts';

export type DurableOptions = {
	readonly scenario: Scenario;
	readonly bench: TinyBench;
	/** Where actors connect, when not to the broker itself. */
	readonly urlOf?: (broker: Broker) => Promise<string>;
	/** Records what the actors do. */
	readonly isTraced?: boolean;
	/** Called at each message of the run, with how many there were. */
	readonly onMessage?: (count: number, run: DurableRun) => void;
};

type Life = {readonly actor: RunningActor; readonly tracing: Tracing | undefined};

const leaseMs = 400;
const run = 'durable';

export class DurableRun {
	readonly rows: MetricsRow[] = [];
	readonly notices: string[] = [];
	/** What ended an actor for good. */
	readonly failures: string[] = [];
	readonly folder: string;
	broker: Broker;
	readonly #options: DurableOptions;
	readonly #storeDir: string;
	readonly #clock = new WallClock();
	readonly #lives = new Map<string, Life>();
	readonly #opening = new Map<string, Promise<unknown>>();
	readonly #standbys: AbortController[] = [];
	#watching: NatsBus[] = [];
	#recorder: Recorder | undefined;
	#url: string;
	#lifeCount = 0;
	#waiting: (() => void)[] = [];

	private constructor(options: DurableOptions, broker: Broker, folder: string, url: string) {
		this.#options = options;
		this.broker = broker;
		this.folder = folder;
		this.#storeDir = broker.storeDir;
		this.#url = url;
	}

	/** Opens broker, streams and actors, lets `use` see the run, and leaves nothing behind. */
	static async with<T>(options: DurableOptions, use: (run: DurableRun) => Promise<T>): Promise<T> {
		const folder = await mkdtemp(join(tmpdir(), 'cutlayer-durable-'));
		const broker = await startBroker({binary: findBroker()!.binary, storeDir: join(folder, 'store')});
		const url = (await options.urlOf?.(broker)) ?? broker.url;
		const opened = new DurableRun(options, broker, folder, url);
		try {
			await opened.#begin();
			return await use(opened);
		} finally {
			await opened.#close();
			await rm(folder, {recursive: true, force: true});
		}
	}

	get roles(): readonly ActorRole[] {
		return rolesOf(this.#options.scenario);
	}

	/** Resolves when the fed server and every client have ended; rejects when one gave up, or nothing was reported for `silenceMs`. */
	async done(silenceMs = 30_000): Promise<void> {
		const awaited = this.roles.filter(({kind}) => kind !== 'evaluator').map(({id}) => id);
		const isOver = () => awaited.every(id => this.#lives.get(id)?.actor.isDone);
		let timer: NodeJS.Timeout | undefined;
		const late = () =>
			new Promise<'late'>(resolve => {
				clearTimeout(timer);
				timer = setTimeout(() => resolve('late'), silenceMs);
			});
		for (let seen = this.rows.length; !isOver(); seen = this.rows.length) {
			const changed = new Promise<void>(resolve => this.#waiting.push(resolve));
			if ((await Promise.race([changed, late()])) === 'late' && this.rows.length === seen)
				throw new Error(
					`Nothing happened for ${silenceMs} ms after ${seen} rows: ${this.#states()}\n${this.notices.join('\n')}`,
				);
			if (this.failures.length > 0) throw new Error(this.failures.join('; '));
		}
		clearTimeout(timer);
		await this.#watching[0]!.flush();
	}

	/** As SIGKILL does. */
	kill(id: string): void {
		const life = this.#lives.get(id);
		if (!life || life.actor.isDone) return;
		life.actor.kill!();
		void life.tracing?.close('interrupted');
		this.#lives.delete(id);
	}

	/** Another life of an actor, which waits for the lease of the one before. */
	revive(role: ActorRole): Promise<void> {
		const opening = (this.#opening.get(role.id) ?? Promise.resolve()).then(async () => {
			if (!this.#lives.has(role.id)) await this.#open(role);
		});
		this.#opening.set(role.id, opening);
		return opening;
	}

	killAndRevive(id: string): void {
		this.kill(id);
		const role = this.roles.find(other => other.id === id)!;
		this.revive(role).catch(error => {
			this.failures.push(String(error));
			this.#wake();
		});
	}

	/** A second one that takes over when the first is gone. */
	standBy(role: ActorRole): void {
		this.#open(role).catch(error => this.failures.push(String(error)));
	}

	/** The broker dies and is back on its port with its store. */
	async restartBroker(): Promise<void> {
		const {port, pid} = this.broker;
		process.kill(pid, 'SIGKILL');
		await this.broker.stop();
		this.broker = await startBroker({binary: findBroker()!.binary, storeDir: this.#storeDir, port});
	}

	/** Losses by client, round and step; a step reported twice is a mistake. */
	losses(): Record<string, number> {
		const losses: Record<string, number> = {};
		for (const row of this.rows) {
			if (row.kind !== 'step') continue;
			const key = `${row.actor} ${row.round}.${row.step}`;
			if (key in losses) throw new Error(`Step ${key} was reported twice`);
			losses[key] = Number(row.loss);
		}
		return losses;
	}

	connect = (name: string): Promise<NatsBus> =>
		connectNats({
			url: this.#url,
			name,
			reconnectDelayMsMax: 200,
			onNotice: () => undefined,
			onProblem: problem => this.notices.push(`${name}: ${problem.message}`),
		});

	async #begin(): Promise<void> {
		const watcher = await connectNats({
			url: this.broker.url,
			name: 'watcher',
			reconnectDelayMsMax: 200,
			onNotice: () => undefined,
		});
		this.#watching.push(watcher);
		await openRunStreams(watcher, run);
		this.#recorder = new Recorder({
			run,
			bus: watcher,
			path: join(this.folder, 'metrics.jsonl'),
			onRow: row => {
				this.rows.push(row);
				this.#wake();
			},
			onProblem: error => this.failures.push(error.message),
		});
		let count = 0;
		watcher.subscribe(`cutlayer.v1.${run}.>`, () => this.#options.onMessage?.(++count, this));
		await watcher.flush();
		for (const role of this.roles) if (role.kind !== 'evaluator') await this.#open(role);
	}

	async #open(role: ActorRole): Promise<void> {
		const {scenario, bench, isTraced} = this.#options;
		const life = this.#lifeCount++;
		const signal = new AbortController();
		this.#standbys.push(signal);
		const durable = durableActors({
			connect: this.connect,
			leaseMs,
			signal: signal.signal,
			onNotice: text => this.notices.push(text),
		});
		const compute = bench.compute();
		const clients = randomClients(scenario, bench.model.config.vocabulary);
		const parts = {
			model: bench.model,
			compute,
			connect: this.connect,
			clients,
			validation: [],
			isEndRepeated: true,
			durable,
		};
		const tracing = isTraced ? await this.#trace(`${role.id}-${life}`) : undefined;
		let actor: RunningActor | undefined;
		const changed = () => this.#wake();
		const done = (failure: string | null) => {
			if (failure !== null && actor && this.#lives.get(role.id)?.actor === actor && !/killed|stopped:/.test(failure))
				this.failures.push(`${role.id}: ${failure}`);
			this.#wake();
		};
		const events = {changed, done, dropped: () => undefined, checkpoint: () => Promise.resolve()};
		actor = await localActors(parts)({
			...role,
			scenario,
			run,
			folder: this.folder,
			clock: this.#clock,
			events,
			watch: tracing?.watch(),
		});
		// The one before was deposed or is gone.
		const before = this.#lives.get(role.id);
		this.#lives.set(role.id, {actor, tracing});
		void before?.actor.stop().then(() => before.tracing?.close('interrupted'));
		await actor.start();
		this.#wake();
	}

	#trace(process: string): Promise<Tracing | undefined> {
		const {scenario} = this.#options;
		return openTracing({
			...{level: 'digest', code: 'test', backend: 'test', scenario, run, folder: this.folder, process},
			...{clock: this.#clock, clockKind: 'wall', connect: this.connect, onNotice: text => this.notices.push(text)},
		});
	}

	#wake(): void {
		for (const resolve of this.#waiting.splice(0)) resolve();
	}

	#states(): string {
		return this.roles.map(({id}) => `${id} ${this.#lives.get(id) ? 'lives' : 'is gone'}`).join(', ');
	}

	/** Ends everything; the traces are whole then. */
	async end(): Promise<void> {
		for (const standby of this.#standbys) standby.abort();
		await Promise.allSettled([...this.#opening.values()]);
		for (const {actor, tracing} of this.#lives.values()) {
			await actor.stop();
			await tracing?.close('done');
		}
		this.#lives.clear();
	}

	async #close(): Promise<void> {
		await this.end();
		await this.#recorder?.close();
		for (const bus of this.#watching) await bus.close();
		await this.broker.stop();
	}
}
