/**
A world in virtual time around the parts of a real one: the same actors, machines, messages and arithmetic, with simulated
devices, links and faults. It decides nothing about training.
*/
import {attachedOf} from '../../protocols/attach-events.ts';
import type {Fault} from '../../protocols/faults.ts';
import type {Bus} from '../../protocols/ports.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import type {Change, WhatIf} from '../../protocols/what-if.ts';
import {RespecCompute} from '../compute/respec.ts';
import {settled} from '../live/settled.ts';
import {WallTime} from '../live/wall-time.ts';
import {ChangePoint, changedBus} from '../sim/change-point.ts';
import {VirtualTime} from '../sim/clock.ts';
import {SimCompute} from '../sim/compute.ts';
import {clientDevice, type Device, idealDevice, serverDevice} from '../sim/devices.ts';
import {FaultyCompute} from '../sim/faulty-compute.ts';
import {FrameFate} from '../sim/frame-fate.ts';
import {SimNetwork} from '../sim/network.ts';
import type {SimTime} from '../sim/time.ts';
import {Carrier} from './carrier.ts';
import {inputChanges, specOf} from './change.ts';
import type {World} from './live-run.ts';
import {type LocalParts, localActors} from './local-actor.ts';
import {evaluatorId, fedServerId, mainServerId, rolesOf} from './plan.ts';
import {SimulatedActor, type Simulation, timesOf} from './simulated-actor.ts';

/** What a simulation is made of; the compute port stays its maker's to close. */
export type SimulationParts = Omit<LocalParts, 'connect'> & {
	readonly scenario: Scenario;
	readonly rowsCut: () => number;
	/** Virtual: time jumps from event to event; wall: the same happens in real time. Default virtual. */
	readonly clock?: 'virtual' | 'wall' | undefined;
	/** Makes connections of a real bus that the frames cross; default none is crossed. */
	readonly connectReal?: ((name: string) => Promise<Bus>) | undefined;
	/** From a record on the run goes otherwise. */
	readonly whatIf?: SimulatedChange | undefined;
	/** When a run that is taken up from a checkpoint goes on, ms; default 0. */
	readonly startMs?: number | undefined;
};

/** What changes, and the scenario that holds from then on. */
export type SimulatedChange = {readonly whatIf: WhatIf; readonly scenario: Scenario};

/** What a simulated run came to beside its rows. */
export type SimulationFigures = {
	readonly virtualMs: number;
	readonly messages: number;
	readonly messagesLost: number;
	/** Messages that crossed a real bus, one for each receiver. */
	readonly messagesCarried: number;
	/** Virtual time each actor computed, ms. */
	readonly busyMs: Readonly<Record<string, number>>;
	/** By the wall clock: real time the passes of each actor took, ms. */
	readonly measuredMs: Readonly<Record<string, number>>;
};

export type SimulatedWorld = World & {
	readonly figures: () => SimulationFigures;
	/** Changes of messages that no message met. */
	readonly unmet: () => readonly Change[];
};

type Sim = Simulation & {readonly network: SimNetwork; readonly compute: SimCompute};

export function simulatedWorld({
	scenario: first,
	rowsCut,
	whatIf,
	startMs,
	clock = 'virtual',
	...parts
}: SimulationParts): SimulatedWorld {
	const carrier = parts.connectReal && new Carrier(parts.connectReal);
	const isLive = clock === 'wall';
	const rest = carrier ? () => carrier.settled() : settled;
	const time: SimTime = isLive ? new WallTime(rest) : new VirtualTime(rest, startMs);
	const point = whatIf && new ChangePoint(whatIf.whatIf);
	let scenario = first;
	let devices = devicesOf(scenario);
	const faults = [...scenario.faults];
	const deviceOf = (actor: string) => devices.get(actor);
	const {seed} = scenario;
	const network = new SimNetwork({time, deviceOf, fate: new FrameFate(faults, seed)});
	const {model} = parts;
	const inner = new RespecCompute(new FaultyCompute(parts.compute, faults, () => time.nowMs));
	const compute = new SimCompute({time, inner, config: model.config, seed, faults, deviceOf, isLive});
	const connect = async (name: string): Promise<Bus> => {
		const simulated = network.connect(name);
		return carrier ? carrier.carry(name, simulated) : simulated;
	};
	const connectActor = async (name: string) => {
		const bus = await connect(name);
		return point ? changedBus(bus, name, point, time) : bus;
	};
	const openInner = localActors({
		...parts,
		clients: withEmptyShards(parts.clients, faults),
		connect: connectActor,
		compute,
		isTabled: !isLive,
	});
	const presence = {returnsMs: new Map<string, number>(), isOver: false};
	const sim: Sim = {scenario: () => scenario, point, time, network, compute, connect, openInner, presence};
	point?.onReached(() => {
		const [before, after] = [scenario, whatIf!.scenario];
		scenario = after;
		devices = devicesOf(after);
		faults.splice(0, faults.length, ...after.faults);
		for (const role of rolesOf(before)) {
			const spec = specOf(role, after, model.config);
			if (JSON.stringify(spec) !== JSON.stringify(specOf(role, before, model.config))) inner.respec(role.id, spec);
		}
	});
	return {
		roles: rolesOf(scenario),
		openActor: request => SimulatedActor.open(sim, request, before => inputChanges(request, before, scenario, model)),
		connect,
		rowsCut,
		time: {
			kind: clock,
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
			messagesCarried: carrier?.carried ?? 0,
			busyMs: compute.busyMs(),
			measuredMs: compute.measuredMs(),
		}),
		unmet: () => point?.unmet ?? [],
	};
}

const withEmptyShards = (clients: LocalParts['clients'], faults: readonly Fault[]): LocalParts['clients'] => {
	const empty = faults.flatMap(fault => (fault.kind === 'empty-shard' ? [fault.client] : []));
	return {...clients, ...Object.fromEntries(empty.map(id => [id, {...clients[id]!, samples: 0}]))};
};

/** The mean over the actors of a role. */
function idleShareOf({compute, time, scenario: now}: Sim): Record<string, number> {
	const scenario = now();
	const busy = compute.busyMs();
	const spanMs = time.nowMs - time.startMs;
	const meanIdle = (kind: string) => {
		const own = rolesOf(scenario).filter(role => role.kind === kind);
		const shares = own.map(({id}) => (spanMs > 0 ? Math.min((busy[id] ?? 0) / spanMs, 1) : 0));
		return 1 - shares.reduce((sum, share) => sum + share, 0) / own.length;
	};
	return {clients: meanIdle('client'), ...(scenario.mainServer && {mainServer: meanIdle('main-server')})};
}

/** The machine of each actor, drawn once. */
function devicesOf(scenario: Scenario): ReadonlyMap<string, Device> {
	const {fleet, clients, seed} = scenario;
	const devices = new Map<string, Device>([
		[fedServerId, {...serverDevice(fleet.profile), ...fleet.servers}],
		[mainServerId, {...serverDevice(fleet.profile), ...fleet.servers}],
		[evaluatorId, idealDevice],
	]);
	for (let index = 0; index < clients; index++) {
		const id = `c${index}`;
		const timeline = fleet.timelines[id];
		devices.set(id, {...clientDevice(fleet.profile, seed, index), ...fleet.clients[id], timeline});
	}
	for (const [index, {id}] of attachedOf(scenario, 'client').entries())
		devices.set(id, {...clientDevice(fleet.profile, seed, clients + index), ...fleet.clients[id]});
	for (const {id} of attachedOf(scenario, 'evaluator')) devices.set(id, idealDevice);
	return devices;
}

/**
A run makes no progress when no step, round or evaluation was told of for longer than any wait of the scenario can last (three
times the sum of its time-outs, and of its longest pass and transfer; passes alone may begin again and again), no fault is still to come and nobody who is away comes back: it ends then, not at somebody's time-out. Who
comes and goes for ever is waited for through two of its days.
*/
function stallCheck({scenario, compute, network, time, presence}: Sim): (nextMs: number) => string | undefined {
	let [reports, sinceMs] = [-1, 0];
	let waits = waitsOf(scenario());
	return nextMs => {
		if (network.reports !== reports) [reports, sinceMs] = [network.reports, time.nowMs];
		if (waits.scenario !== scenario()) waits = waitsOf(scenario());
		const {patienceMs, lastFaultMs, dayMs} = waits;
		const workedMs = Math.max(sinceMs, lastFaultMs);
		const waitMs = patienceMs + 3 * (compute.longestMs + network.longestMs);
		// Who is away is asked for when nobody has worked for that long, not at each event.
		if (nextMs <= workedMs + waitMs) return undefined;
		const backMs = Math.min(
			[...presence.returnsMs.values()].reduce((last, ms) => Math.max(last, ms), 0),
			workedMs + 2 * dayMs,
		);
		if (nextMs <= backMs + waitMs) return undefined;
		return `nothing was achieved for ${patienceMs} ms of virtual time: everybody waits for somebody who will not come`;
	};
}

function waitsOf(scenario: Scenario) {
	const {timing, closing, faults, fleet} = scenario;
	const deadlineMs =
		'deadlineMs' in closing ? closing.deadlineMs : 'firstDeadlineMs' in closing ? closing.firstDeadlineMs : 0;
	const patienceMs = 3 * (timing.answerTimeoutMs + timing.leaseMs + timing.heartbeatMs + deadlineMs);
	const lastFaultMs = faults
		.flatMap(timesOf)
		.filter(Number.isFinite)
		.reduce((last, ms) => Math.max(last, ms), 0);
	return {scenario, patienceMs, lastFaultMs, dayMs: fleet.dayMs};
}
