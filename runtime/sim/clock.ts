/**
Virtual time: it stands still while anything happens and jumps to the next event when nothing is left to do.
It never reads a real clock.
*/
import type {Clock} from '../../protocols/ports.ts';
import {actorClock} from './actor-clock.ts';
import {type Cancel, EventQueue} from './event-queue.ts';
import type {SimTime, StallCheck} from './time.ts';

export class VirtualTime implements SimTime {
	readonly #queue = new EventQueue();
	readonly #settled: () => Promise<void>;
	/** When the run began or was taken up, ms. */
	readonly startMs: number;
	#nowMs: number;
	#isStopped = false;
	#events = 0;
	/** The event under way was a hop. */
	#isHop = false;

	/** `settled` resolves when every promise that could go on has gone on: then the next event may come. */
	constructor(settled: () => Promise<void>, startMs = 0) {
		this.#settled = settled;
		this.startMs = startMs;
		this.#nowMs = startMs;
	}

	/** Virtual milliseconds since the run began. */
	get nowMs(): number {
		return this.#nowMs;
	}

	/** Events that have fired. */
	get events(): number {
		return this.#events;
	}

	get isStopped(): boolean {
		return this.#isStopped;
	}

	/** Has `fire` called at `atMs`, never before now; what it returns is awaited before time goes on. */
	at(atMs: number, actor: string, fire: () => void | Promise<void>): Cancel {
		return this.#queue.push({atMs: Math.max(atMs, this.#nowMs), actor, fire});
	}

	hop(atMs: number, actor: string, fire: () => void): void {
		this.#queue.push({
			atMs: Math.max(atMs, this.#nowMs),
			actor,
			fire: () => {
				fire();
				this.#isHop = true;
			},
		});
	}

	clockOf(actor: string): Clock {
		return actorClock(this, actor);
	}

	/**
	Fires event after event until stopped. Between two of them everything that follows from the first in this process has
	happened. Returns why it ended by itself: `check` said so, or nothing is left that could happen.
	*/
	async run(check: StallCheck = () => undefined): Promise<string | undefined> {
		await this.#settled();
		while (!this.#isStopped) {
			const event = this.#queue.pop();
			if (!event) return 'nothing is left that could happen: everybody waits for somebody who will not come';
			const stall = check(event.atMs);
			if (stall !== undefined) return stall;
			this.#nowMs = event.atMs;
			this.#events++;
			const firing = event.fire();
			if (this.#isHop) this.#isHop = false;
			else {
				if (firing) await firing;
				await this.#settled();
			}
		}
		return undefined;
	}

	/** Ends `run` before the next event. */
	stop(): void {
		this.#isStopped = true;
	}
}
