/**
A world in virtual time around the parts of a real one: the same actors, machines, messages and arithmetic, with simulated
devices, links and faults. It decides nothing about training.
*/
import {encodeFrame} from '../../protocols/codec.ts';
import {messageIdOf} from '../../protocols/envelope.ts';
import type {Fault} from '../../protocols/faults.ts';
import type {Bus} from '../../protocols/ports.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import {subjectOf} from '../../protocols/subjects.ts';
import type {Change, WhatIf} from '../../protocols/what-if.ts';
import {settled} from '../live/settled.ts';
import {ChangePoint, changedBus} from '../sim/change-point.ts';
import {VirtualTime} from '../sim/clock.ts';
import {SimCompute} from '../sim/compute.ts';
import {clientDevice, type Device, idealDevice, serverDevice} from '../sim/devices.ts';
import {FrameFate} from '../sim/faults.ts';
import {FaultyCompute} from '../sim/faulty-compute.ts';
import {SimNetwork} from '../sim/network.ts';
import {RespecCompute} from '../sim/respec-compute.ts';
import {inputChanges, specOf} from './change.ts';
import type {World} from './live-run.ts';
import {type LocalParts, localActors} from './local-actor.ts';
import {evaluatorId, fedServerId, mainServerId, rolesOf} from './plan.ts';
import type {ActorRequest, OpenActor, RunningActor} from './running-actor.ts';

/** What a simulation is made of; the compute port stays its maker's to close. */
export type SimulationParts = Omit<LocalParts, 'connect'> & {
	readonly scenario: Scenario;
	readonly rowsCut: () => number;
	/** From a record on the run goes otherwise. */
	readonly whatIf?: SimulatedChange | undefined;
};

/** What changes, and the scenario that holds from then on. */
export type SimulatedChange = {readonly whatIf: WhatIf; readonly scenario: Scenario};

/** What a simulated run came to beside its rows. */
export type SimulationFigures = {
	readonly virtualMs: number;
	readonly messages: number;
	readonly messagesLost: number;
	/** Virtual time each actor computed, ms. */
	readonly busyMs: Readonly<Record<string, number>>;
};

export type SimulatedWorld = World & {
	readonly figures: () => SimulationFigures;
	/** Changes of messages that no message met. */
	readonly unmet: () => readonly Change[];
};

type Sim = {
	/** As it is now. */
	readonly scenario: () => Scenario;
	readonly point: ChangePoint | undefined;
	readonly time: VirtualTime;
	readonly network: SimNetwork;
	readonly compute: SimCompute;
	readonly openInner: OpenActor;
};

export function simulatedWorld({scenario: first, rowsCut, whatIf, ...parts}: SimulationParts): SimulatedWorld {
	const time = new VirtualTime(settled);
	const point = whatIf && new ChangePoint(whatIf.whatIf);
	let scenario = first;
	let devices = devicesOf(scenario);
	const faults = [...scenario.faults];
	const deviceOf = (actor: string) => devices.get(actor);
	const {seed} = scenario;
	const network = new SimNetwork({time, deviceOf, fate: new FrameFate(faults, seed)});
	const {model} = parts;
	const inner = new RespecCompute(new FaultyCompute(parts.compute, faults));
	const compute = new SimCompute({time, inner, config: model.config, seed, faults, deviceOf});
	const connect = (name: string): Promise<Bus> => Promise.resolve(network.connect(name));
	const connectActor = async (name: string) => {
		const bus = await connect(name);
		return point ? changedBus(bus, name, point, time) : bus;
	};
	const openInner = localActors({...parts, connect: connectActor, compute});
	const sim: Sim = {scenario: () => scenario, point, time, network, compute, openInner};
	point?.onReached(() => {
		const [before, after] = [scenario, whatIf!.scenario];
		scenario = after;
		devices = devicesOf(after);
		faults.splice(0, faults.length, ...after.faults);
		for (const role of rolesOf(before)) {
			const spec = specOf(role, after, model.config);
			if (!isSame(spec, specOf(role, before, model.config))) inner.respec(role.id, spec);
		}
	});
	return {
		roles: rolesOf(scenario),
		openActor: request => SimulatedActor.open(sim, request, before => inputChanges(request, before, scenario, model)),
		connect,
		rowsCut,
		time: {
			kind: 'virtual',
			clock: time.clockOf(''),
			run: () => time.run(stallCheck(sim)),
			stop: () => time.stop(),
			...(point && {recorded: (n: number) => point.recorded(n)}),
		},
		idleShare: () => idleShareOf(sim),
		figures: () => ({
			virtualMs: time.nowMs,
			messages: network.delivered,
			messagesLost: network.lost,
			busyMs: compute.busyMs(),
		}),
		unmet: () => point?.unmet ?? [],
	};
}

const isSame = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);

/** The mean over the actors of a role. */
function idleShareOf({compute, time, scenario: now}: Sim): Record<string, number> {
	const scenario = now();
	const busy = compute.busyMs();
	const meanIdle = (kind: string) => {
		const own = rolesOf(scenario).filter(role => role.kind === kind);
		const shares = own.map(({id}) => (time.nowMs > 0 ? Math.min((busy[id] ?? 0) / time.nowMs, 1) : 0));
		return 1 - shares.reduce((sum, share) => sum + share, 0) / own.length;
	};
	return {clients: meanIdle('client'), ...(scenario.mainServer && {mainServer: meanIdle('main-server')})};
}

/** The machine of each actor, drawn once. */
function devicesOf({fleet, clients, seed}: Scenario): ReadonlyMap<string, Device> {
	const devices = new Map<string, Device>([
		[fedServerId, {...serverDevice(fleet.profile), ...fleet.servers}],
		[mainServerId, {...serverDevice(fleet.profile), ...fleet.servers}],
		[evaluatorId, idealDevice],
	]);
	for (let index = 0; index < clients; index++) {
		const id = `c${index}`;
		devices.set(id, {...clientDevice(fleet.profile, seed, index), ...fleet.clients[id]});
	}
	return devices;
}

/**
A run makes no progress when nothing was computed for longer than any wait of the scenario can last (three times the sum of
its time-outs) and no fault is still to come: it ends then, not at somebody's time-out.
*/
function stallCheck({scenario, compute, network, time}: Sim): (nextMs: number) => string | undefined {
	let [passes, sinceMs] = [-1, 0];
	return nextMs => {
		const {timing, closing, faults} = scenario();
		const deadlineMs = 'deadlineMs' in closing ? closing.deadlineMs : 0;
		const patienceMs = 3 * (timing.answerTimeoutMs + timing.leaseMs + timing.heartbeatMs + deadlineMs);
		const lastFaultMs = Math.max(0, ...faults.flatMap(timesOf).filter(Number.isFinite));
		if (compute.passes !== passes) [passes, sinceMs] = [compute.passes, time.nowMs];
		const busyMs = Math.max(sinceMs, lastFaultMs, compute.busyUntilMs);
		if (nextMs <= busyMs + patienceMs + 3 * network.longestMs) return undefined;
		return `no actor computed anything for ${patienceMs} ms of virtual time: everybody waits for somebody who will not come`;
	};
}

const timesOf = (fault: Fault): number[] =>
	Object.entries(fault).flatMap(([key, value]) => (key.endsWith('Ms') && typeof value === 'number' ? [value] : []));

/** What is other in an actor's input than under a scenario before. */
type Changes = (before: Scenario) => Readonly<Record<string, unknown>>;

/** An actor that may join late, drop out, crash and come back, as the scenario's faults say. */
class SimulatedActor implements RunningActor {
	readonly id: string;
	readonly kind: RunningActor['kind'];
	readonly #sim: Sim;
	#request: ActorRequest;
	#inner: RunningActor | undefined;
	#isBegun = false;
	/** Of its machine's input, before it was told. */
	#changes: Readonly<Record<string, unknown>> = {};
	/** Set while it is away for good. */
	#failure: string | undefined;

	private constructor(sim: Sim, request: ActorRequest, inner: RunningActor | undefined) {
		this.id = request.id;
		this.kind = request.kind;
		this.#sim = sim;
		this.#request = request;
		this.#inner = inner;
	}

	static async open(sim: Sim, given: ActorRequest, changes: Changes): Promise<SimulatedActor> {
		const {changed, done, dropped} = given.events;
		// Virtual runs are not checkpointed between rounds: the same seed gives the same run again.
		const events = {changed, done, dropped, checkpoint: () => Promise.resolve()};
		const request = {...given, events, clock: sim.time.clockOf(given.id)};
		const actor = new SimulatedActor(sim, request, await sim.openInner(request));
		sim.point?.onReached(() => actor.#change(changes));
		return actor;
	}

	get isQuiet(): boolean {
		return this.#inner?.isQuiet ?? true;
	}

	get isDone(): boolean {
		return this.#failure !== undefined || (this.#inner?.isDone ?? false);
	}

	get failure(): string | null {
		return this.#failure ?? this.#inner?.failure ?? null;
	}

	async start(): Promise<void> {
		const {time} = this.#sim;
		const own = this.#ownFaults(this.#sim.scenario());
		const late = own.find(fault => fault.kind === 'late-join');
		for (const fault of own) this.#await(fault);
		if (late?.kind === 'late-join') time.at(late.atMs, this.id, () => this.#begin());
		else await this.#begin();
	}

	async #begin(): Promise<void> {
		await this.#inner?.start();
		this.#isBegun = true;
		this.#tellChanges();
	}

	#tellChanges(): void {
		if (!this.#isBegun || Object.keys(this.#changes).length === 0) return;
		this.#inner?.change?.(this.#changes);
		this.#changes = {};
	}

	#ownFaults({faults}: Scenario): Fault[] {
		return faults.filter(fault => 'client' in fault && fault.client === this.id);
	}

	/** What a changed scenario no longer has does not happen. */
	#await(fault: Fault): void {
		const {time} = this.#sim;
		const at = (ms: number, happen: () => Promise<void>) =>
			time.at(ms, this.id, () =>
				this.#ownFaults(this.#sim.scenario()).some(one => isSame(one, fault)) ? happen() : undefined,
			);
		if (fault.kind === 'dropout') at(fault.atMs, () => this.#dropOut(fault.isAnnounced, 'as the scenario says'));
		if (fault.kind !== 'crash') return;
		at(fault.atMs, () => this.#crash());
		at(fault.returnMs, () => this.#comeBack());
	}

	/** In the middle of an event: what happens now is asked for as the next one. */
	#change(changes: Changes): void {
		const {time, scenario, point} = this.#sim;
		const before = this.#request.scenario;
		this.#request = {...this.#request, scenario: scenario()};
		const known = this.#ownFaults(before);
		for (const fault of this.#ownFaults(scenario())) {
			const isNew = !known.some(one => isSame(one, fault));
			if (isNew && timesOf(fault).every(ms => ms >= time.nowMs)) this.#await(fault);
		}
		this.#changes = changes(before);
		time.at(time.nowMs, this.id, () => this.#tellChanges());
		const isOut = point!.changes.some(change => change.kind === 'without' && change.client === this.id);
		if (isOut) time.at(time.nowMs, this.id, () => this.#dropOut(true, 'as the what-if says'));
	}

	pause(): void {
		this.#inner?.pause();
	}

	resume(): void {
		this.#inner?.resume();
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
		if (isAnnounced) this.#sayLeave(`it dropped out at ${at}`);
		await this.#crash();
		this.#failure = `dropped out at ${at}, ${isAnnounced ? 'announced' : 'in silence'}, ${why}`;
		this.#request.events.changed();
	}

	async #crash(): Promise<void> {
		if (this.isDone) return;
		const inner = this.#inner;
		this.#inner = undefined;
		await inner?.stop();
	}

	/** A new life without memory: it asks for the round in progress and begins with zero moments. */
	async #comeBack(): Promise<void> {
		if (this.isDone || this.#inner) return;
		const incarnation = (this.#request.incarnation ?? 0) + 1;
		this.#inner = await this.#sim.openInner({...this.#request, incarnation});
		await this.#inner.start();
		this.#request.events.changed();
	}

	#sayLeave(reason: string): void {
		const {run, id} = this.#request;
		const [incarnation, sequence] = [this.#request.incarnation ?? 0, Number.MAX_SAFE_INTEGER];
		const frame = encodeFrame({
			subject: subjectOf({run, kind: 'client', id, verb: 'leave'}),
			messageId: messageIdOf({sender: id, incarnation, sequence}),
			sequence,
			body: {incarnation, reason},
		});
		const bus = this.#sim.network.connect(id);
		bus.publish(frame);
		void bus.close();
	}
}
