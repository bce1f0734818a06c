/**
What a connection has received and not handed over: one item a turn of the event loop, so that a long queue of one connection
delays no other in this process, and nobody is called from inside a publish or a socket.
*/

/** A queue that empties itself, first in first out. */
export class Inbox<T> {
	private items: T[] = [];
	private from = 0;
	private isScheduled = false;
	private readonly deliver: (item: T) => void;

	constructor(deliver: (item: T) => void) {
		this.deliver = deliver;
	}

	get length(): number {
		return this.items.length - this.from;
	}

	push(item: T): void {
		this.items.push(item);
		this.schedule();
	}

	/** Drops everything and returns how many that were. */
	clear(): number {
		const {length} = this;
		this.items = [];
		this.from = 0;
		return length;
	}

	private schedule(): void {
		if (this.isScheduled || this.length === 0) return;
		this.isScheduled = true;
		setImmediate(() => this.turn());
	}

	private turn(): void {
		this.isScheduled = false;
		if (this.length === 0) return; // cleared meanwhile
		const item = this.items[this.from]!;
		this.items[this.from++] = undefined as T; // a delivered frame may be collected
		if (this.from === this.items.length) this.clear();
		else if (this.from > 1024 && this.from * 2 > this.items.length) {
			this.items = this.items.slice(this.from);
			this.from = 0;
		}
		this.schedule();
		this.deliver(item);
	}
}
