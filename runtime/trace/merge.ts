/**
Reads the streams of a run as one: no message before it was sent, by time where messages say nothing, and the streams that a
resumed run left one part after the other. It can stop anywhere and be taken up there again.
*/
import type {TraceEntry, TraceReader} from './read.ts';

/** Where a reading stands: the part it is in, the next record of each of its streams, and the last message of each sender. */
export type MergePlace = {
	readonly part: number;
	readonly next: ReadonlyMap<string, number>;
	readonly sent: ReadonlyMap<string, number>;
};

type Head = {
	readonly stream: TraceReader;
	readonly batches: AsyncGenerator<TraceEntry[]>;
	batch: readonly TraceEntry[];
	index: number;
};

export class MergedReading {
	readonly #parts: readonly (readonly TraceReader[])[];
	/** Where a part has one stream nobody asks what was sent. */
	readonly #areMany: boolean;
	#part: number;
	/** The streams of the part that have records left. */
	#heads: Head[] = [];
	#isOpen = false;
	#next: Map<string, number>;
	readonly #sent: Map<string, number>;

	constructor(streams: readonly TraceReader[], place?: MergePlace) {
		this.#parts = partsOf(streams);
		this.#areMany = this.#parts.some(part => part.length > 1);
		this.#part = place?.part ?? 0;
		this.#next = new Map(place?.next);
		this.#sent = new Map(place?.sent);
	}

	get place(): MergePlace {
		return {part: this.#part, next: new Map(this.#next), sent: new Map(this.#sent)};
	}

	/** The next entries, some hundred at most; none at the end. Throws `trace-invalid` at a damaged one, after those before it. */
	async next(countMax = 512): Promise<readonly TraceEntry[]> {
		if (!(await this.#open())) return [];
		return this.#heads.length === 1 ? this.#takeMany(this.#heads[0]!, countMax) : this.#takeInOrder(countMax);
	}

	/** Of the only stream that has records left. */
	#takeMany(head: Head, countMax: number): readonly TraceEntry[] {
		const entries = head.batch.slice(head.index, head.index + countMax);
		head.index += entries.length;
		this.#next.set(head.stream.name, entries.at(-1)!.head.n + 1);
		if (this.#areMany) for (const entry of entries) this.#note(entry);
		return entries;
	}

	/** Up to the end of a batch: what is whole before a damage is handed on first. */
	#takeInOrder(countMax: number): readonly TraceEntry[] {
		const entries: TraceEntry[] = [];
		let head: Head;
		do {
			head = this.#earliest();
			const entry = head.batch[head.index++]!;
			entries.push(entry);
			this.#next.set(head.stream.name, entry.head.n + 1);
			this.#note(entry);
		} while (entries.length < countMax && head.index < head.batch.length);
		return entries;
	}

	/** A sender's messages are numbered in the order in which they leave. */
	#note({head: {sent}}: TraceEntry): void {
		for (const id of sent) {
			const at = id.lastIndexOf(':');
			this.#sent.set(id.slice(0, at), Number(id.slice(at + 1)));
		}
	}

	async close(): Promise<void> {
		for (const {batches} of this.#heads) await batches.return(undefined);
	}

	/** False when there are no more records. */
	async #open(): Promise<boolean> {
		for (;;) {
			for (const head of this.#heads) if (head.index >= head.batch.length) await this.#fill(head);
			if (this.#heads.length > 0) return true;
			if (this.#isOpen) {
				this.#part++;
				this.#next = new Map();
			}
			const streams = this.#parts[this.#part];
			this.#isOpen = true;
			if (!streams) return false;
			this.#heads = streams.map(stream => ({
				stream,
				batches: stream.entryBatches({from: this.#next.get(stream.name) ?? 1}),
				batch: [],
				index: 0,
			}));
		}
	}

	async #fill(head: Head): Promise<void> {
		const {done, value} = await head.batches.next();
		if (done) this.#heads = this.#heads.filter(one => one !== head);
		else [head.batch, head.index] = [value, 0];
	}

	/** Of the heads whose message was sent already the earliest; of all heads the earliest, when a sender's stream is missing. */
	#earliest(): Head {
		const heads = this.#heads;
		if (heads.length === 1) return heads[0]!;
		const at = ({batch, index}: Head) => batch[index]!.head;
		const ready = heads.filter(head => isSent(at(head).message, this.#sent));
		return (ready.length > 0 ? ready : heads).reduce((a, b) => (at(b).t < at(a).t ? b : a));
	}
}

/** `run.10` comes after `run.2`; an id has no dot. */
export const partOf = (name: string): number => Number(/\.(\d+)(\.trace)?$/.exec(name)?.[1] ?? 1);

/** Streams of one part of the run, which were written at the same time. */
function partsOf(streams: readonly TraceReader[]): TraceReader[][] {
	const parts = new Map<number, TraceReader[]>();
	for (const stream of streams) {
		const part = partOf(stream.name);
		parts.set(part, [...(parts.get(part) ?? []), stream]);
	}
	return [...parts.values()];
}

function isSent(message: string | undefined, sent: ReadonlyMap<string, number>): boolean {
	if (message === undefined) return true;
	const at = message.lastIndexOf(':');
	return (sent.get(message.slice(0, at)) ?? -1) >= Number(message.slice(at + 1));
}
