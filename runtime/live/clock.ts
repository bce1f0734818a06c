/**
The wall clock: real milliseconds since the run began.
*/
import type {Clock, TimerId} from '../../protocols/ports.ts';

export class WallClock implements Clock {
	readonly #startedAt: number;
	readonly #timers = new Map<TimerId, NodeJS.Timeout>();
	#next = 1;

	/** A resumed run goes on at `elapsedMs`. */
	constructor(elapsedMs = 0) {
		this.#startedAt = performance.now() - elapsedMs;
	}

	now(): number {
		return performance.now() - this.#startedAt;
	}

	setTimeout(fire: () => void, delayMs: number): TimerId {
		const id = this.#next++;
		const timer = setTimeout(() => {
			this.#timers.delete(id);
			fire();
		}, delayMs);
		this.#timers.set(id, timer);
		return id;
	}

	clearTimeout(id: TimerId): void {
		clearTimeout(this.#timers.get(id));
		this.#timers.delete(id);
	}
}
