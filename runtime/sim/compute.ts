/**
The compute port in virtual time: the real work begins at once, its result is handed over at the pass's virtual end.
Passes of one actor take its machine one after another. It changes no number.
*/

import type {Fault} from '../../protocols/faults.ts';
import type {Compute, PassRequest, PassResult} from '../../protocols/ports.ts';
import type {ActorSpec} from '../compute/spec.ts';
import type {ModelConfig} from '../model/config.ts';
import {randomStream} from '../random.ts';
import type {VirtualTime} from './clock.ts';
import {computeMs, type PassWork, takesTime, workOf} from './cost.ts';
import {type Device, idealDevice} from './devices.ts';
import {slowedEnd, spikeMs} from './faults.ts';

export type SimComputeOptions = {
	readonly time: VirtualTime;
	readonly inner: Compute;
	readonly config: ModelConfig;
	readonly seed: number;
	readonly faults: readonly Fault[];
	readonly deviceOf: (actor: string) => Device | undefined;
};

type Machine = {
	readonly spec: ActorSpec;
	last: PassWork;
	/** When its passes so far are done, ms. */
	freeMs: number;
	lastStartMs: number;
	passes: number;
	busyMs: number;
};

const outside = new Set(['open', 'restore', 'save', 'close']);

/** A Pareto wait never takes longer, ms. */
const paretoMaxMs = 30_000;

export class SimCompute implements Compute {
	readonly #options: SimComputeOptions;
	readonly #machines = new Map<string, Machine>();
	#busyUntilMs = 0;
	#passes = 0;

	constructor(options: SimComputeOptions) {
		this.#options = options;
	}

	/** Virtual time that passes took so far, by actor, ms. */
	busyMs(): Record<string, number> {
		return Object.fromEntries([...this.#machines].map(([actor, {busyMs}]) => [actor, busyMs]));
	}

	/** When the last pass under way is done, ms. */
	get busyUntilMs(): number {
		return this.#busyUntilMs;
	}

	/** Timed passes so far, of all actors: a run in which it stands still makes no progress. */
	get passes(): number {
		return this.#passes;
	}

	run(request: PassRequest): Promise<PassResult> {
		const {inner, time} = this.#options;
		if (request.pass === 'open') this.#open(request);
		// What the run asks for itself, before it begins and after it ended, is no event of it.
		if (outside.has(request.pass) || time.isStopped) return inner.run(request);
		const endMs = this.#endOf(request);
		const working = inner.run(request);
		// An error is handed over at its time too, not before.
		working.catch(() => undefined);
		return new Promise((resolve, reject) => {
			time.at(endMs, request.actor, () => working.then(resolve, reject));
		});
	}

	close(): Promise<void> {
		return this.#options.inner.close();
	}

	#open({actor, input}: PassRequest): void {
		const before = this.#machines.get(actor);
		const last = {flops: 0, lengths: [], targets: 0};
		const fresh = {last, freeMs: 0, lastStartMs: -1, passes: 0, busyMs: 0, ...before};
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
		this.#passes++;
		this.#busyUntilMs = Math.max(this.#busyUntilMs, endMs);
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
