/**
Actors in this process: a host each, with a bus connection of its own and the arithmetic they share.
*/
import {errorText} from '../../protocols/errors.ts';
import {isPipelined} from '../../protocols/pipelining.ts';
import type {Bus, Clock, Compute} from '../../protocols/ports.ts';
import type {NamedTensors} from '../../protocols/tensor.ts';
import {RespecCompute} from '../compute/respec.ts';
import type {ActorSpec, NoiseKey} from '../compute/spec.ts';
import type {PackedBatch} from '../data/batches.ts';
import {GroupCommit} from '../durable/group-commit.ts';
import {SavingCompute} from '../durable/saving-compute.ts';
import type {ActorHost} from '../host/actor-host.ts';
import {type HostObserver, observers} from '../host/observer.ts';
import {
	type ActorContext,
	type ClientData,
	openClient,
	openEvaluator,
	openFedServer,
	openMainServer,
	withNoiseKey,
} from './actors.ts';
import type {ActorCheckpoint} from './checkpoint.ts';
import type {Durability} from './durability.ts';
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
	/** What makes an actor durable, where it is to be; nothing for who keeps nothing. Default none is. */
	readonly durable?:
		| ((request: ActorRequest, onLost: (reason: string) => void) => Promise<Durability | undefined>)
		| undefined;
	/** What noise for privacy is keyed by, in real time: nobody else may know it. Default the seed, so that a simulated run repeats. */
	readonly noiseKey?: NoiseKey | undefined;
	/** In real time: the fed server says that the run is over until it is closed. */
	readonly isEndRepeated?: boolean | undefined;
};

/** Where no heartbeat says how often to expect a sign of life. */
const endRepeatMs = 2000;
/** How long the end of a durable actor waits for its last checkpoint, ms. */
const lastWordsMs = 10_000;

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
	readonly #noiseKey: NoiseKey | undefined;
	#host: ActorHost | undefined;
	/** Set when the machine has ended, or threw. */
	#end: {readonly failure: string | null} | undefined;
	#onQuiet: (() => void)[] = [];
	/** Where it is durable. */
	#durable: Durability | undefined;
	#outlet: GroupCommit | undefined;
	#isLost = false;
	#isKilled = false;
	#onSaid: (() => void)[] = [];

	private constructor({id, kind, events, clock}: ActorRequest, bus: Bus, {compute, noiseKey}: LocalParts) {
		this.id = id;
		this.kind = kind;
		this.#bus = bus;
		this.#noiseKey = noiseKey;
		this.#respec = new RespecCompute(compute);
		this.#compute = new SlowableCompute(this.#respec, clock);
		this.#events = events;
	}

	static async open(parts: LocalParts, request: ActorRequest): Promise<LocalActor> {
		let lost: string | undefined;
		let actor: LocalActor | undefined;
		const durable = await parts.durable?.(request, reason => {
			lost = reason;
			if (actor) actor.#lose(reason);
		});
		const connection = durable?.bus ?? (await parts.connect(request.id));
		const everyMs = request.scenario.timing.heartbeatMs || endRepeatMs;
		const isRepeated = parts.isEndRepeated && request.kind === 'fed-server';
		const bus = isRepeated ? lastWords(connection, request.clock, everyMs) : connection;
		actor = new LocalActor(request, bus, parts);
		try {
			const {scenario, run, clock, watch} = request;
			const {model, initial, isTabled, noiseKey} = parts;
			const observer = observers(actor.#observer(), watch);
			const own = durable ? actor.#keep(durable, clock, isPipelined(scenario)) : {compute: actor.#compute};
			const saved = request.saved ?? durable?.saved;
			const context = {
				run,
				scenario,
				model,
				ports: {bus, clock, compute: own.compute},
				observer,
				incarnation: Math.max(request.incarnation ?? 0, durable?.incarnation ?? 0),
				...('outlet' in own && {outlet: own.outlet}),
				isTabled,
				...(saved && {saved}),
				...(initial && {initial}),
				...(noiseKey !== undefined && {noiseKey}),
			};
			actor.#host = await openHost(context, parts, request);
			if (lost !== undefined) actor.#lose(lost);
			return actor;
		} catch (error) {
			await (durable ? durable.close({isOver: false}) : bus.close());
			throw error;
		}
	}

	/** What it says waits for its checkpoint. Where several batches are on their way only a quiet state can be gone on from. */
	#keep(durable: Durability, clock: Clock, needsQuiet: boolean) {
		const compute = new SavingCompute(this.#compute);
		this.#durable = durable;
		const outlet = new GroupCommit({
			isRepeatable: () => this.#host!.isRepeatable && (!needsQuiet || this.#host!.isQuiet),
			write: () => durable.write({host: this.#host!.save(), compute: compute.latest, clockMs: clock.now()}),
			publish: frame => this.#bus.publish(frame),
			passed: result => compute.passed(result),
			onEmpty: () => this.#emptied(),
			onEnd: reason => this.#lose(errorText(reason)),
		});
		this.#outlet = outlet;
		return {compute, outlet};
	}

	get isQuiet(): boolean {
		return this.isDone || (this.#host!.isQuiet && this.#isSaid);
	}

	get isDone(): boolean {
		return this.#isLost || this.#isKilled || ((this.#end !== undefined || this.#host!.isDone) && this.#isSaid);
	}

	/** Nothing waits to be said. */
	get #isSaid(): boolean {
		return this.#outlet?.isEmpty ?? true;
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
		this.#respec.respec(this.id, withNoiseKey(spec, this.#noiseKey));
	}

	kill(): void {
		if (this.isDone) return;
		const failure = 'killed by cutlayer ctl';
		this.#host!.stop();
		this.#outlet?.end();
		this.#isKilled = true;
		void this.#durable?.abandon();
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
		if (!this.#durable || this.#isKilled) return this.#bus.close();
		await this.#said();
		this.#outlet!.end();
		await this.#durable.close({isOver: this.#end?.failure === null});
		await this.#bus.close();
	}

	/** What a machine said before it ended leaves, where the broker lets it. */
	async #said(): Promise<void> {
		if (this.#isSaid) return;
		let timer: NodeJS.Timeout | undefined;
		const late = new Promise<void>(resolve => {
			timer = setTimeout(resolve, lastWordsMs);
		});
		await Promise.race([late, new Promise<void>(resolve => this.#onSaid.push(resolve))]);
		clearTimeout(timer);
	}

	#emptied(): void {
		for (const resolve of this.#onSaid.splice(0)) resolve();
		this.#wake();
		this.#events.changed();
	}

	/** Another acts in its place: it ends at once and says nothing more. */
	#lose(reason: string): void {
		if (this.#isLost || !this.#host) return;
		this.#isLost = true;
		this.#outlet?.end();
		this.#host.stop();
		this.#end = {failure: `stopped: ${reason}`};
		this.#wake();
		for (const resolve of this.#onSaid.splice(0)) resolve();
		this.#events.done(this.#end.failure, true);
		this.#events.changed();
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
				if (this.#isSaid) queueMicrotask(() => done(failure, isThrown));
				else this.#onSaid.push(() => this.#isLost || done(failure, isThrown));
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
