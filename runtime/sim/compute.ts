/**
The compute port in virtual time: a pass's end is known at its start, from shapes, and its result is handed over then. Passes of one
actor take its machine one after another.

Clients' passes are put off until the first result of those that wait is due: all that wait then are computed as cohorts, one pass
through the frozen weights each. What waits follows from virtual time alone. It changes no number beyond float tolerance.
*/
import type {Fault} from '../../protocols/faults.ts';
import type {Compute, PassRequest, PassResult} from '../../protocols/ports.ts';
import type {ActorSpec} from '../compute/spec.ts';
import type {ModelConfig} from '../model/config.ts';
import {randomStream} from '../random.ts';
import {computeMs, type PassWork, takesTime, workOf} from './cost.ts';
import {type Device, idealDevice} from './devices.ts';
import {slowedEnd, spikeMs} from './faults.ts';
import type {SimTime} from './time.ts';

export type SimComputeOptions = {
	readonly time: SimTime;
	readonly inner: Compute;
	readonly config: ModelConfig;
	readonly seed: number;
	readonly faults: readonly Fault[];
	readonly deviceOf: (actor: string) => Device | undefined;
	/** Real time goes on while a pass is computed: none is put off, and how long each took is measured. Default false. */
	readonly isLive?: boolean;
};

type Machine = {
	readonly spec: ActorSpec;
	last: PassWork;
	/** When its passes so far are done, ms. */
	freeMs: number;
	lastStartMs: number;
	passes: number;
	busyMs: number;
	measuredMs: number;
};

/** A client's pass that waits to be computed. */
type Deferred = {readonly request: PassRequest; working: Promise<PassResult> | undefined};

const deferrable = new Set(['forward', 'backward', 'localStep']);

/**
Clients in one pass at the most. The adapters' products grow with the square of a cohort, since each token is multiplied by
everybody's A, while what larger frozen products gain is had by then.
*/
const cohortMax = 16;

const outside = new Set(['open', 'restore', 'save', 'close']);

/** A Pareto wait never takes longer, ms. */
const paretoMaxMs = 30_000;

export class SimCompute implements Compute {
	readonly #options: SimComputeOptions;
	readonly #machines = new Map<string, Machine>();
	/** By actor, in the order in which they were asked for. */
	readonly #waiting = new Map<string, Deferred[]>();
	#cohorts = 0;
	#longestMs = 0;

	constructor(options: SimComputeOptions) {
		this.#options = options;
	}

	/** Virtual time that passes took so far, by actor, ms. */
	busyMs(): Record<string, number> {
		return Object.fromEntries([...this.#machines].map(([actor, {busyMs}]) => [actor, busyMs]));
	}

	/** Live: real time from asking for each pass that takes time to having it, by actor, ms. */
	measuredMs(): Record<string, number> {
		return Object.fromEntries([...this.#machines].map(([actor, {measuredMs}]) => [actor, measuredMs]));
	}

	/** The longest time from asking for a pass to having it so far, ms. */
	get longestMs(): number {
		return this.#longestMs;
	}

	run(request: PassRequest): Promise<PassResult> {
		const {inner, time, isLive = false} = this.#options;
		if (request.pass === 'open') this.#open(request);
		if (!deferrable.has(request.pass)) this.#computeOf(request.actor);
		// What the run asks for itself, before it begins and after it ended, is no event of it.
		if (outside.has(request.pass) || time.isStopped) return inner.run(request);
		const endMs = this.#endOf(request);
		const deferred: Deferred = {request, working: undefined};
		if (deferrable.has(request.pass) && !isLive) this.#putOff(deferred);
		else this.#begin(deferred, undefined);
		if (isLive) this.#measure(deferred);
		return new Promise((resolve, reject) => {
			time.at(endMs, request.actor, () => {
				while (!deferred.working) this.#computeWaiting();
				return deferred.working.then(resolve, reject);
			});
		});
	}

	#putOff(deferred: Deferred): void {
		const {actor} = deferred.request;
		const before = this.#waiting.get(actor);
		if (before) before.push(deferred);
		else this.#waiting.set(actor, [deferred]);
	}

	/** What an actor asks for next comes after what it has asked for. */
	#computeOf(actor: string): void {
		while (this.#waiting.has(actor)) this.#computeWaiting();
	}

	/** Each actor's first pass that waits, in cohorts of those that do the same. */
	#computeWaiting(): void {
		const kinds = new Map<string, Deferred[]>();
		for (const [actor, [first, ...later]] of [...this.#waiting]) {
			const alike = kinds.get(first!.request.pass);
			if (alike) alike.push(first!);
			else kinds.set(first!.request.pass, [first!]);
			if (later.length > 0) this.#waiting.set(actor, later);
			else this.#waiting.delete(actor);
		}
		for (const alike of kinds.values()) {
			for (let from = 0; from < alike.length; from += cohortMax) {
				const members = alike.slice(from, from + cohortMax);
				const cohort = {id: this.#cohorts++, size: members.length};
				for (const member of members) this.#begin(member, members.length > 1 ? cohort : undefined);
			}
		}
	}

	#begin(deferred: Deferred, cohort: PassRequest['cohort']): void {
		deferred.working = this.#options.inner.run(cohort ? {...deferred.request, cohort} : deferred.request);
		// An error is handed over at its time too, not before.
		deferred.working.catch(() => undefined);
	}

	#measure({request, working}: Deferred): void {
		const {time} = this.#options;
		const machine = this.#machines.get(request.actor);
		if (!machine || !takesTime(request.pass)) return;
		const askedMs = time.nowMs;
		const note = () => {
			machine.measuredMs += time.nowMs - askedMs;
		};
		working?.then(note, note);
	}

	close(): Promise<void> {
		return this.#options.inner.close();
	}

	#open({actor, input}: PassRequest): void {
		const before = this.#machines.get(actor);
		const last = {flops: 0, lengths: [], targets: 0};
		const fresh = {last, freeMs: 0, lastStartMs: -1, passes: 0, busyMs: 0, measuredMs: 0, ...before};
		this.#machines.set(actor, {...fresh, spec: input as ActorSpec, freeMs: 0});
	}

	#endOf(request: PassRequest): number {
		const {time, config, faults, deviceOf} = this.#options;
		const machine = this.#machines.get(request.actor);
		if (!machine || !takesTime(request.pass)) return time.nowMs;
		const device = deviceOf(request.actor) ?? idealDevice;
		const startMs = Math.max(time.nowMs, machine.freeMs);
		machine.last = workOf(machine.spec, config, request, machine.last);
		const extraMs =
			device.overheadMs +
			this.#paretoMs(request.actor, machine, device) +
			spikeMs(faults, request.actor, machine.lastStartMs, startMs);
		const endMs =
			slowedEnd(faults, request.actor, startMs, computeMs(machine.last.flops, device), device.timeline) + extraMs;
		machine.passes++;
		this.#longestMs = Math.max(this.#longestMs, endMs - time.nowMs);
		machine.busyMs += endMs - startMs;
		machine.lastStartMs = startMs;
		machine.freeMs = endMs;
		return endMs;
	}

	#paretoMs(actor: string, {passes}: Machine, {paretoMs}: Device): number {
		if (paretoMs === 0) return 0;
		const {seed} = this.#options;
		return Math.min(paretoMs / (1 - randomStream(seed, actor, passes, 'pareto').float()), paretoMaxMs);
	}
}
