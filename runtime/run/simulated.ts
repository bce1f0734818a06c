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
import {settled} from '../live/settled.ts';
import {VirtualTime} from '../sim/clock.ts';
import {SimCompute} from '../sim/compute.ts';
import {clientDevice, type Device, idealDevice, serverDevice} from '../sim/devices.ts';
import {FrameFate} from '../sim/faults.ts';
import {SimNetwork} from '../sim/network.ts';
import type {World} from './live-run.ts';
import {type LocalParts, localActors} from './local-actor.ts';
import {evaluatorId, fedServerId, mainServerId, rolesOf} from './plan.ts';
import type {ActorRequest, OpenActor, RunningActor} from './running-actor.ts';

/** What a simulation is made of; the compute port stays its maker's to close. */
export type SimulationParts = Omit<LocalParts, 'connect'> & {
	readonly scenario: Scenario;
	readonly rowsCut: () => number;
};

/** What a simulated run came to beside its rows. */
export type SimulationFigures = {
	readonly virtualMs: number;
	readonly messages: number;
	readonly messagesLost: number;
	/** Virtual time each actor computed, ms. */
	readonly busyMs: Readonly<Record<string, number>>;
};

export type SimulatedWorld = World & {readonly figures: () => SimulationFigures};

type Sim = {
	readonly scenario: Scenario;
	readonly time: VirtualTime;
	readonly network: SimNetwork;
	readonly compute: SimCompute;
	readonly openInner: OpenActor;
};

export function simulatedWorld({scenario, rowsCut, ...parts}: SimulationParts): SimulatedWorld {
	const time = new VirtualTime(settled);
	const {seed, faults} = scenario;
	const deviceOf = devicesOf(scenario);
	const network = new SimNetwork({time, deviceOf, fate: new FrameFate(faults, seed)});
	const {config} = parts.model;
	const compute = new SimCompute({time, inner: parts.compute, config, seed, faults, deviceOf});
	const connect = (name: string): Promise<Bus> => Promise.resolve(network.connect(name));
	const openInner = localActors({...parts, connect, compute});
	const sim: Sim = {scenario, time, network, compute, openInner};
	return {
		roles: rolesOf(scenario),
		openActor: request => SimulatedActor.open(sim, request),
		connect,
		rowsCut,
		time: {
			kind: 'virtual',
			clock: time.clockOf(''),
			run: () => time.run(stallCheck(sim)),
			stop: () => time.stop(),
		},
		idleShare: () => idleShareOf(sim),
		figures: () => ({
			virtualMs: time.nowMs,
			messages: network.delivered,
			messagesLost: network.lost,
			busyMs: compute.busyMs(),
		}),
	};
}

/** The mean over the actors of a role. */
function idleShareOf({compute, time, scenario}: Sim): Record<string, number> {
	const busy = compute.busyMs();
	const meanIdle = (kind: string) => {
		const own = rolesOf(scenario).filter(role => role.kind === kind);
		const shares = own.map(({id}) => (time.nowMs > 0 ? Math.min((busy[id] ?? 0) / time.nowMs, 1) : 0));
		return 1 - shares.reduce((sum, share) => sum + share, 0) / own.length;
	};
	return {clients: meanIdle('client'), ...(scenario.mainServer && {mainServer: meanIdle('main-server')})};
}

/** The machine of each actor, drawn once. */
function devicesOf({fleet, clients, seed}: Scenario): (actor: string) => Device | undefined {
	const devices = new Map<string, Device>([
		[fedServerId, {...serverDevice(fleet.profile), ...fleet.servers}],
		[mainServerId, {...serverDevice(fleet.profile), ...fleet.servers}],
		[evaluatorId, idealDevice],
	]);
	for (let index = 0; index < clients; index++) {
		const id = `c${index}`;
		devices.set(id, {...clientDevice(fleet.profile, seed, index), ...fleet.clients[id]});
	}
	return actor => devices.get(actor);
}

/**
A run makes no progress when nothing was computed for longer than any wait of the scenario can last (three times the sum of
its time-outs) and no fault is still to come: it ends then, not at somebody's time-out.
*/
function stallCheck({scenario, compute, network, time}: Sim): (nextMs: number) => string | undefined {
	const {timing, closing, faults} = scenario;
	const deadlineMs = 'deadlineMs' in closing ? closing.deadlineMs : 0;
	const patienceMs = 3 * (timing.answerTimeoutMs + timing.leaseMs + timing.heartbeatMs + deadlineMs);
	const lastFaultMs = Math.max(0, ...faults.flatMap(timesOf).filter(Number.isFinite));
	let [passes, sinceMs] = [-1, 0];
	return nextMs => {
		if (compute.passes !== passes) [passes, sinceMs] = [compute.passes, time.nowMs];
		const busyMs = Math.max(sinceMs, lastFaultMs, compute.busyUntilMs);
		if (nextMs <= busyMs + patienceMs + 3 * network.longestMs) return undefined;
		return `no actor computed anything for ${patienceMs} ms of virtual time: everybody waits for somebody who will not come`;
	};
}

const timesOf = (fault: Fault): number[] =>
	Object.entries(fault).flatMap(([key, value]) => (key.endsWith('Ms') && typeof value === 'number' ? [value] : []));

/** An actor that may join late, drop out, crash and come back, as the scenario's faults say. */
class SimulatedActor implements RunningActor {
	readonly id: string;
	readonly kind: RunningActor['kind'];
	readonly #sim: Sim;
	readonly #request: ActorRequest;
	#inner: RunningActor | undefined;
	/** Set while it is away for good. */
	#failure: string | undefined;

	private constructor(sim: Sim, request: ActorRequest, inner: RunningActor | undefined) {
		this.id = request.id;
		this.kind = request.kind;
		this.#sim = sim;
		this.#request = request;
		this.#inner = inner;
	}

	static async open(sim: Sim, given: ActorRequest): Promise<SimulatedActor> {
		const {changed, done, dropped} = given.events;
		// Virtual runs are not checkpointed between rounds: the same seed gives the same run again.
		const events = {changed, done, dropped, checkpoint: () => Promise.resolve()};
		const request = {...given, events, clock: sim.time.clockOf(given.id)};
		return new SimulatedActor(sim, request, await sim.openInner(request));
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
		const own = this.#sim.scenario.faults.filter(fault => 'client' in fault && fault.client === this.id);
		const {time} = this.#sim;
		const late = own.find(fault => fault.kind === 'late-join');
		for (const fault of own) {
			if (fault.kind === 'dropout') time.at(fault.atMs, this.id, () => this.#dropOut(fault.isAnnounced));
			if (fault.kind !== 'crash') continue;
			time.at(fault.atMs, this.id, () => this.#crash());
			time.at(fault.returnMs, this.id, () => this.#comeBack());
		}
		if (late?.kind === 'late-join') time.at(late.atMs, this.id, () => this.#inner?.start());
		else await this.#inner!.start();
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

	async #dropOut(isAnnounced: boolean): Promise<void> {
		if (this.isDone) return;
		const at = `${Math.round(this.#sim.time.nowMs)} ms`;
		if (isAnnounced) this.#sayLeave(`it dropped out at ${at}`);
		await this.#crash();
		this.#failure = `dropped out at ${at}, ${isAnnounced ? 'announced' : 'in silence'}, as the scenario says`;
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
