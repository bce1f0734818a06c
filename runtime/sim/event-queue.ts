/**
What will happen in virtual time: earliest first, ties by actor id, then in the order in which it was asked for.
A binary heap; it knows nothing of what its events do.
*/

/** `atMs` is virtual; `actor` decides between events of the same instant. */
export type SimEvent = {
	readonly atMs: number;
	readonly actor: string;
	/** Awaited before the next event. */
	readonly fire: () => void | Promise<void>;
};

class Entry implements SimEvent {
	readonly atMs: number;
	readonly actor: string;
	readonly sequence: number;
	fire: SimEvent['fire'];
	isCancelled = false;

	constructor({atMs, actor, fire}: SimEvent, sequence: number) {
		this.atMs = atMs;
		this.actor = actor;
		this.fire = fire;
		this.sequence = sequence;
	}
}

const nothing = () => undefined;

/** Takes an event back; without effect once it has fired. */
export type Cancel = () => void;

export class EventQueue {
	readonly #heap: Entry[] = [];
	#sequence = 0;

	/** Events that wait, cancelled ones not yet removed among them. */
	get size(): number {
		return this.#heap.length;
	}

	push(event: SimEvent): Cancel {
		const entry = new Entry(event, this.#sequence++);
		this.#heap.push(entry);
		this.#up(this.#heap.length - 1);
		return () => {
			entry.isCancelled = true;
			// What it would have done may hold much, and its time may be far.
			entry.fire = nothing;
		};
	}

	/** The next event, removed; nothing when none waits. */
	pop(): SimEvent | undefined {
		for (;;) {
			const first = this.#heap[0];
			if (!first) return undefined;
			const last = this.#heap.pop()!;
			if (this.#heap.length > 0) {
				this.#heap[0] = last;
				this.#down(0);
			}
			if (!first.isCancelled) return first;
		}
	}

	#up(index: number): void {
		const heap = this.#heap;
		const entry = heap[index]!;
		let at = index;
		while (at > 0) {
			const parent = (at - 1) >> 1;
			if (!isBefore(entry, heap[parent]!)) break;
			heap[at] = heap[parent]!;
			at = parent;
		}
		heap[at] = entry;
	}

	#down(index: number): void {
		const heap = this.#heap;
		const entry = heap[index]!;
		let at = index;
		for (;;) {
			let child = 2 * at + 1;
			if (child >= heap.length) break;
			if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
			if (!isBefore(heap[child]!, entry)) break;
			heap[at] = heap[child]!;
			at = child;
		}
		heap[at] = entry;
	}
}

function isBefore(a: Entry, b: Entry): boolean {
	if (a.atMs !== b.atMs) return a.atMs < b.atMs;
	if (a.actor !== b.actor) return a.actor < b.actor;
	return a.sequence < b.sequence;
}
