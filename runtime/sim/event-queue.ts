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

type Entry = SimEvent & {readonly sequence: number; isCancelled: boolean};

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
		const entry = {...event, sequence: this.#sequence++, isCancelled: false};
		this.#heap.push(entry);
		this.#up(this.#heap.length - 1);
		return () => {
			entry.isCancelled = true;
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
		while (index > 0) {
			const parent = (index - 1) >> 1;
			if (!isBefore(heap[index]!, heap[parent]!)) return;
			[heap[index], heap[parent]] = [heap[parent]!, heap[index]!];
			index = parent;
		}
	}

	#down(index: number): void {
		const heap = this.#heap;
		for (;;) {
			let least = index;
			for (const child of [2 * index + 1, 2 * index + 2]) {
				if (child < heap.length && isBefore(heap[child]!, heap[least]!)) least = child;
			}
			if (least === index) return;
			[heap[index], heap[least]] = [heap[least]!, heap[index]!];
			index = least;
		}
	}
}

function isBefore(a: Entry, b: Entry): boolean {
	if (a.atMs !== b.atMs) return a.atMs < b.atMs;
	if (a.actor !== b.actor) return a.actor < b.actor;
	return a.sequence < b.sequence;
}
