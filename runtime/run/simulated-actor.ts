/**
An actor of a simulated run that may join late or from outside, drop out, crash and come back, as the scenario's faults and its fleet say.
It decides nothing about training.
*/
import {memberOf} from '../../actors/cohort.ts';
import {attachOf} from '../../protocols/attach-events.ts';
import {encodeFrame} from '../../protocols/codec.ts';
import {messageIdOf} from '../../protocols/envelope.ts';
import type {Fault} from '../../protocols/faults.ts';
import type {Body} from '../../protocols/messages.ts';
import type {Bus} from '../../protocols/ports.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import {subjectOf} from '../../protocols/subjects.ts';
import {type HostObserver, observers} from '../host/observer.ts';
import type {ChangePoint} from '../sim/change-point.ts';
import {type Absence, type Absences, faultAbsences, flakyAbsence, fleetAbsences} from '../sim/presence.ts';
import type {SimTime} from '../sim/time.ts';
import type {ActorRequest, OpenActor, RunningActor} from './running-actor.ts';

/** What the actors of a simulation share. */
export type Simulation = {
	/** As it is now. */
	readonly scenario: () => Scenario;
	readonly point: ChangePoint | undefined;
	readonly time: SimTime;
	readonly connect: (name: string) => Promise<Bus>;
	readonly openInner: OpenActor;
	readonly presence: {
		/** When those who are away come back, ms, by actor. */
		readonly returnsMs: Map<string, number>;
		/** The fed server has ended: nobody comes back any more. */
		isOver: boolean;
	};
};

/** What is other in an actor's input than under a scenario before. */
type Changes = (before: Scenario) => Readonly<Record<string, unknown>>;

const isSame = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);

const instants = new Set(['atMs', 'fromMs', 'toMs', 'returnMs']);

/** The instants a fault names, not its durations. */
export const timesOf = (fault: Fault): number[] =>
	Object.entries(fault).flatMap(([key, value]) => (instants.has(key) && typeof value === 'number' ? [value] : []));

export class SimulatedActor implements RunningActor {
	readonly id: string;
	readonly kind: RunningActor['kind'];
	readonly #sim: Simulation;
	#request: ActorRequest;
	#inner: RunningActor | undefined;
	#isBegun = false;
	/** The sources of absences for which it is away now. */
	readonly #away = new Set<Absences>();
	/** The last round for which it was drawn whether it drops out. */
	#roundDrawn = -1;
	#isPaused = false;
	/** Of its machine's input, before it was told. */
	#changes: Readonly<Record<string, unknown>> = {};
	/** Set while it is away for good. */
	#failure: string | undefined;

	private constructor(sim: Simulation, request: ActorRequest) {
		this.id = request.id;
		this.kind = request.kind;
		this.#sim = sim;
		const ear: HostObserver = {heard: (verb, body) => this.#hear(verb, body)};
		this.#request = request.kind === 'client' ? {...request, watch: observers(request.watch, ear)} : request;
	}

	static async open(sim: Simulation, given: ActorRequest, changes: Changes): Promise<SimulatedActor> {
		const {changed, done, dropped} = given.events;
		const {presence, time, point} = sim;
		// Virtual runs are not checkpointed between rounds: the same seed gives the same run again.
		const events: ActorRequest['events'] = {
			changed,
			dropped,
			done: (failure, isLost) => {
				if (given.kind === 'fed-server') presence.isOver = true;
				done(failure, isLost);
			},
			checkpoint: () => Promise.resolve(),
		};
		const actor = new SimulatedActor(sim, {...given, events, clock: time.clockOf(given.id)});
		actor.#inner = await sim.openInner(actor.#request);
		point?.onReached(() => actor.#change(changes));
		return actor;
	}

	get isAway(): boolean {
		return this.#inner === undefined || !this.#isBegun;
	}

	get isQuiet(): boolean {
		return this.isAway || this.#inner!.isQuiet;
	}

	get isDone(): boolean {
		if (this.#failure !== undefined) return true;
		return this.isAway ? this.#sim.presence.isOver : this.#inner!.isDone;
	}

	get failure(): string | null {
		return this.#failure ?? this.#inner?.failure ?? null;
	}

	async start(): Promise<void> {
		const scenario = this.#sim.scenario();
		for (const fault of this.#ownFaults(scenario)) this.#await(fault);
		if (this.kind === 'client') for (const source of fleetAbsences(scenario, this.id)) this.#follow(source);
		const attached = attachOf(scenario, this.id);
		if (attached) this.#follow([{fromMs: 0, toMs: attached.atMs, isAnnounced: false}]);
		// Who is taken up from a checkpoint only to leave says no hello, which its leave might overtake.
		if (this.#away.size === 0 && !this.#isLeftOut) await this.#begin();
	}

	/** The what-if goes without it, and has begun. */
	get #isLeftOut(): boolean {
		const {point} = this.#sim;
		return point?.isReached === true && point.changes.some(one => one.kind === 'without' && one.client === this.id);
	}

	async #begin(): Promise<void> {
		const changes = this.#takeChanges();
		await this.#inner?.start(changes);
		this.#isBegun = true;
		this.#tellChanges();
		if (this.#isPaused) this.#inner?.pause();
	}

	#tellChanges(): void {
		const changes = this.#isBegun ? this.#takeChanges() : undefined;
		if (changes) this.#inner?.change?.(changes);
	}

	#takeChanges(): Readonly<Record<string, unknown>> | undefined {
		const changes = this.#changes;
		this.#changes = {};
		return Object.keys(changes).length > 0 ? changes : undefined;
	}

	#ownFaults({faults}: Scenario): Fault[] {
		return faults.filter(fault => 'client' in fault && fault.client === this.id);
	}

	/** What a changed scenario no longer has does not happen. */
	#await(fault: Fault): void {
		const absences = faultAbsences(fault);
		const holds = () => this.#ownFaults(this.#sim.scenario()).some(one => isSame(one, fault));
		if (absences) this.#follow(absences, holds);
	}

	/** Leaves and comes back with each absence of a source; the first may have begun before the run did. */
	#follow(source: Absences, holds = () => true): void {
		const {time, presence} = this.#sim;
		const absences = source[Symbol.iterator]();
		const next = () => {
			const {value: absence, done} = absences.next();
			if (done) return;
			const {fromMs, toMs} = absence as Absence;
			// Over before the run was taken up.
			if (toMs <= time.startMs) return next();
			if (fromMs <= time.startMs && !this.#isBegun) {
				this.#away.add(source);
				presence.returnsMs.set(this.id, toMs);
			} else time.at(fromMs, this.id, () => (holds() ? this.#leave(source, absence as Absence) : undefined));
			if (!Number.isFinite(toMs)) return;
			time.at(toMs, this.id, async () => {
				await this.#comeBack(source);
				next();
			});
		};
		next();
	}

	/** In the middle of an event: what happens now is asked for as the next one. */
	#change(changes: Changes): void {
		const {time, scenario} = this.#sim;
		const before = this.#request.scenario;
		this.#request = {...this.#request, scenario: scenario()};
		const known = this.#ownFaults(before);
		for (const fault of this.#ownFaults(scenario())) {
			const isNew = !known.some(one => isSame(one, fault));
			if (isNew && timesOf(fault).every(ms => ms >= time.nowMs)) this.#await(fault);
		}
		this.#changes = changes(before);
		time.at(time.nowMs, this.id, () => this.#tellChanges());
		if (this.#isLeftOut) time.at(time.nowMs, this.id, () => this.#dropOut(true, 'as the what-if says'));
	}

	/** A client that drops out of rounds by chance: the chance is drawn when it hears of the round. */
	#hear(verb: string, body: unknown): void {
		if (verb !== 'round-opened') return;
		const {round, cohort} = body as Body<'round-opened'>;
		if (round <= this.#roundDrawn || !memberOf(cohort, this.id)) return;
		this.#roundDrawn = round;
		const {scenario, time} = this.#sim;
		const absence = flakyAbsence(scenario(), {client: this.id, round, atMs: time.nowMs});
		if (absence) this.#follow([absence]);
	}

	/** Who is away is told when it is here. */
	pause(): void {
		this.#isPaused = true;
		if (!this.isAway) this.#inner!.pause();
	}

	resume(): void {
		this.#isPaused = false;
		if (!this.isAway) this.#inner!.resume();
	}

	finish(): void {
		this.#inner?.finish?.();
	}

	async save(options: {readonly isLast: boolean}) {
		return this.#inner!.save(options);
	}

	readAdapter() {
		return this.#inner!.readAdapter();
	}

	async stop(): Promise<void> {
		await this.#inner?.stop();
	}

	async #dropOut(isAnnounced: boolean, why: string): Promise<void> {
		if (this.isDone) return;
		const at = `${Math.round(this.#sim.time.nowMs)} ms`;
		if (isAnnounced) await this.#sayLeave(`it dropped out at ${at}`);
		await this.#end();
		this.#failure = `dropped out at ${at}, ${isAnnounced ? 'announced' : 'in silence'}, ${why}`;
		this.#sim.presence.returnsMs.delete(this.id);
		this.#request.events.changed();
	}

	async #leave(source: Absences, {toMs, isAnnounced}: Absence): Promise<void> {
		if (this.isDone) return;
		if (!Number.isFinite(toMs)) return this.#dropOut(isAnnounced, 'as the scenario says');
		this.#away.add(source);
		this.#sim.presence.returnsMs.set(this.id, toMs);
		if (isAnnounced) await this.#sayLeave(`it is away until ${Math.round(toMs)} ms`);
		await this.#end();
	}

	/** What it was ends without a word; who has not begun yet stays as it is. */
	async #end(): Promise<void> {
		if (!this.#isBegun) return;
		const inner = this.#inner;
		this.#inner = undefined;
		await inner?.stop();
	}

	/** A new life without memory: it asks for the round in progress and begins with zero moments. */
	async #comeBack(source: Absences): Promise<void> {
		if (!this.#away.delete(source) || this.#away.size > 0) return;
		this.#sim.presence.returnsMs.delete(this.id);
		if (this.isDone || this.#sim.presence.isOver) return;
		if (!this.#isBegun) return this.#begin();
		// What it was saved as is not what it comes back as.
		const incarnation = (this.#request.incarnation ?? 0) + 1;
		this.#request = {...this.#request, saved: undefined, incarnation};
		this.#inner = await this.#sim.openInner(this.#request);
		await this.#inner.start();
		if (this.#isPaused) this.#inner.pause();
		this.#request.events.changed();
	}

	async #sayLeave(reason: string): Promise<void> {
		if (!this.#inner || !(this.#isBegun || this.#request.saved)) return;
		const {run, id} = this.#request;
		const [incarnation, sequence] = [this.#request.incarnation ?? 0, Number.MAX_SAFE_INTEGER];
		const frame = encodeFrame({
			subject: subjectOf({run, kind: 'client', id, verb: 'leave'}),
			messageId: messageIdOf({sender: id, incarnation, sequence}),
			sequence,
			body: {incarnation, reason},
		});
		const bus = await this.#sim.connect(id);
		bus.publish(frame);
		await bus.close();
	}
}
