/**
Actors in this process: a host each, with a bus connection of its own and the arithmetic they share.
*/
import type {Bus, Compute} from '../../protocols/ports.ts';
import type {NamedTensors} from '../../protocols/tensor.ts';
import {RespecCompute} from '../compute/respec.ts';
import type {ActorSpec} from '../compute/spec.ts';
import type {PackedBatch} from '../data/batches.ts';
import type {ActorHost} from '../host/actor-host.ts';
import {type HostObserver, observers} from '../host/observer.ts';
import {
	type ActorContext,
	type ClientData,
	openClient,
	openEvaluator,
	openFedServer,
	openMainServer,
} from './actors.ts';
import type {ActorCheckpoint} from './checkpoint.ts';
import {lastWords} from './last-words.ts';
import type {RunModel} from './plan.ts';
import type {ActorEvents, ActorKind, ActorRequest, OpenActor, RunningActor} from './running-actor.ts';
import {SlowableCompute} from './slowable-compute.ts';

/** What actors of one process are made of. */
export type LocalParts = {
	readonly model: RunModel;
	readonly compute: Compute;
	/** A connection of its own for each actor. */
	readonly connect: (name: string) => Promise<Bus>;
	readonly clients: Readonly<Record<string, ClientData>>;
	readonly validation: readonly PackedBatch[];
	/** A first adapter in place of the keyed one. */
	readonly initial?: NamedTensors | undefined;
	/** Machines run by tables: for fleets that share a processor. */
	readonly isTabled?: boolean | undefined;
	/** In real time: the fed server says that the run is over until it is closed. */
	readonly isEndRepeated?: boolean | undefined;
};

/** Where no heartbeat says how often to expect a sign of life. */
const endRepeatMs = 2000;

/** Opens actors over these parts; whoever made the parts closes them. */
export const localActors =
	(parts: LocalParts): OpenActor =>
	request =>
		LocalActor.open(parts, request);

class LocalActor implements RunningActor {
	readonly id: string;
	readonly kind: ActorKind;
	readonly #bus: Bus;
	readonly #compute: SlowableCompute;
	readonly #respec: RespecCompute;
	readonly #events: ActorEvents;
	#host: ActorHost | undefined;
	/** Set when the machine has ended, or threw. */
	#end: {readonly failure: string | null} | undefined;
	#onQuiet: (() => void)[] = [];

	private constructor({id, kind, events, clock}: ActorRequest, bus: Bus, compute: Compute) {
		this.id = id;
		this.kind = kind;
		this.#bus = bus;
		this.#respec = new RespecCompute(compute);
		this.#compute = new SlowableCompute(this.#respec, clock);
		this.#events = events;
	}

	static async open(parts: LocalParts, request: ActorRequest): Promise<LocalActor> {
		const connection = await parts.connect(request.id);
		const everyMs = request.scenario.timing.heartbeatMs || endRepeatMs;
		const isRepeated = parts.isEndRepeated && request.kind === 'fed-server';
		const bus = isRepeated ? lastWords(connection, request.clock, everyMs) : connection;
		const actor = new LocalActor(request, bus, parts.compute);
		try {
			const {scenario, run, clock, saved, watch, incarnation = 0} = request;
			const {model, initial, isTabled} = parts;
			const ports = {bus, clock, compute: actor.#compute};
			const observer = observers(actor.#observer(), watch);
			const context = {
				run,
				scenario,
				model,
				ports,
				observer,
				incarnation,
				isTabled,
				...(saved && {saved}),
				...(initial && {initial}),
			};
			actor.#host = await openHost(context, parts, request);
			return actor;
		} catch (error) {
			await bus.close();
			throw error;
		}
	}

	get isQuiet(): boolean {
		return this.isDone || this.#host!.isQuiet;
	}

	get isDone(): boolean {
		return this.#end !== undefined || this.#host!.isDone;
	}

	get failure(): string | null {
		return this.#end?.failure ?? this.#host!.failure;
	}

	start(changed?: Readonly<Record<string, unknown>>): Promise<void> {
		return this.#host!.start(changed);
	}

	pause(): void {
		if (!this.isDone) this.#host!.tell({type: 'host.pause'});
	}

	resume(): void {
		if (!this.isDone) this.#host!.tell({type: 'host.resume'});
	}

	change(input: Readonly<Record<string, unknown>>): void {
		if (!this.isDone) this.#host!.tell({type: 'host.changed', input});
	}

	finish(): void {
		if (!this.isDone) this.#host!.tell({type: 'host.finish'});
	}

	slow(delayMs: number): void {
		this.#compute.delayMs = delayMs;
	}

	respec(spec: ActorSpec): void {
		this.#respec.respec(this.id, spec);
	}

	kill(): void {
		if (this.isDone) return;
		const failure = 'killed by cutlayer ctl';
		this.#host!.stop();
		this.#end = {failure};
		this.#wake();
		this.#events.done(failure, true);
		this.#events.changed();
	}

	async save({isLast}: {readonly isLast: boolean}): Promise<ActorCheckpoint> {
		// What the others have flushed reaches a listener before its own flush returns.
		if (this.kind === 'evaluator') await this.#bus.flush();
		// A pass under way is done again after a restore: a step would count twice.
		if (isLast || this.kind === 'client' || this.kind === 'main-server') await this.#quiet();
		const host = this.#host!.save();
		if (isLast) this.#host!.stop();
		// Asked for in the same turn as the snapshot: no later pass can come between.
		const compute = this.#pass('save');
		await this.#bus.flush();
		return {host, compute: await compute};
	}

	async readAdapter(): Promise<NamedTensors> {
		return (await this.#pass('readAdapter')).tensors;
	}

	async stop(): Promise<void> {
		this.#host!.stop();
		await this.#bus.close();
	}

	#pass(pass: string) {
		return this.#compute.run({actor: this.id, pass, input: {}, tensors: {}});
	}

	async #quiet(): Promise<void> {
		while (!this.isQuiet) await new Promise<void>(resolve => this.#onQuiet.push(resolve));
	}

	#observer(): HostObserver {
		const {changed, done, dropped} = this.#events;
		return {
			transition: () => {
				this.#wake();
				changed();
			},
			done: (failure, isThrown) => {
				this.#end = {failure};
				this.#wake();
				// The machine's own last messages leave first.
				queueMicrotask(() => done(failure, isThrown));
			},
			dropped,
		};
	}

	#wake(): void {
		if (this.isQuiet) for (const resolve of this.#onQuiet.splice(0)) resolve();
	}
}

function openHost(
	context: ActorContext,
	{clients, validation}: LocalParts,
	{kind, id, events}: ActorRequest,
): Promise<ActorHost> {
	if (kind === 'client') return openClient(context, id, clients[id]!);
	if (kind === 'main-server') return openMainServer(context);
	if (kind === 'fed-server') return openFedServer(context, events.checkpoint);
	return openEvaluator(context, validation, id);
}
