/**
The wall's time for devices, links and absences that a scenario describes: what would happen at an instant of virtual time
happens when that many real milliseconds have passed. It waits for nobody, so that what takes longer here than described is late.
*/
import {errorText} from '../../protocols/errors.ts';
import type {Clock} from '../../protocols/ports.ts';
import {actorClock} from '../sim/actor-clock.ts';
import type {SimTime, StallCheck} from '../sim/time.ts';
import {WallClock} from './clock.ts';

type Waiting = {readonly atMs: number; readonly fire: () => void | Promise<void>; timer: NodeJS.Timeout | undefined};

const checkEveryMs = 1000;

export class WallTime implements SimTime {
	readonly startMs = 0;
	readonly #settled: () => Promise<void>;
	readonly #waiting = new Set<Waiting>();
	#clock: Clock | undefined;
	#isStopped = false;
	#end: ((reason: string | undefined) => void) | undefined;

	/** `settled` is called after each event: frames on a real bus have arrived and been handed over then. */
	constructor(settled: () => Promise<void>) {
		this.#settled = settled;
	}

	/** Stands at 0 until `run`. */
	get nowMs(): number {
		return this.#clock?.now() ?? 0;
	}

	get isStopped(): boolean {
		return this.#isStopped;
	}

	at(atMs: number, _actor: string, fire: () => void | Promise<void>): () => void {
		const waiting: Waiting = {atMs, fire, timer: undefined};
		this.#waiting.add(waiting);
		if (this.#clock) this.#arm(waiting);
		return () => this.#forget(waiting);
	}

	hop(atMs: number, actor: string, fire: () => void): void {
		this.at(atMs, actor, fire);
	}

	clockOf(actor: string): Clock {
		return actorClock(this, actor);
	}

	async run(check: StallCheck = () => undefined): Promise<string | undefined> {
		await this.#settled();
		if (this.#isStopped) return undefined;
		this.#clock = new WallClock();
		const ended = new Promise<string | undefined>(resolve => {
			this.#end = resolve;
		});
		const checking = setInterval(() => {
			const stall = check(this.nowMs);
			if (stall !== undefined) this.#end?.(stall);
		}, checkEveryMs);
		for (const waiting of [...this.#waiting]) this.#arm(waiting);
		return ended.finally(() => clearInterval(checking));
	}

	stop(): void {
		this.#isStopped = true;
		for (const waiting of [...this.#waiting]) this.#forget(waiting);
		this.#end?.(undefined);
	}

	#arm(waiting: Waiting): void {
		waiting.timer = setTimeout(() => void this.#fire(waiting), Math.max(0, waiting.atMs - this.nowMs));
	}

	async #fire(waiting: Waiting): Promise<void> {
		if (!this.#waiting.delete(waiting)) return;
		try {
			// A pass is not waited for: others go on meanwhile.
			Promise.resolve(waiting.fire()).catch((error: unknown) => this.#end?.(errorText(error)));
			await this.#settled();
		} catch (error) {
			this.#end?.(errorText(error));
		}
	}

	#forget(waiting: Waiting): void {
		clearTimeout(waiting.timer);
		this.#waiting.delete(waiting);
	}
}
