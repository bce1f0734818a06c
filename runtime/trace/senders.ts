/**
Where in a stream each actor's messages were sent: made in one pass over the heads, so that finding the sender of a message
costs a piece of the stream and not the whole. It holds a bounded number of places, the coarser the longer the stream.
*/
import {indexInterval} from './format.ts';
import type {TraceEntry, TraceReader} from './read.ts';

/** The blocks in which one life of an actor sent, and the number of its last message in each; both ascend. */
type Life = {blocks: number[]; last: number[]};

export type SenderIndexOptions = {
	/** Places kept, or one a life of an actor when those are more; default 65,536. */
	readonly placesMax?: number;
	/** Records a place stands for at first; default 1,000. */
	readonly blockRecords?: number;
};

export class SenderIndex {
	readonly #stream: TraceReader;
	readonly #placesMax: number;
	readonly #lives = new Map<string, Life>();
	/** Records a block. */
	#width: number;
	#places = 0;

	private constructor(stream: TraceReader, {placesMax = 65_536, blockRecords = indexInterval}: SenderIndexOptions) {
		this.#stream = stream;
		this.#placesMax = placesMax;
		this.#width = blockRecords;
	}

	/** Reads the whole stream once. Throws `trace-invalid`. */
	static async of(stream: TraceReader, options: SenderIndexOptions = {}): Promise<SenderIndex> {
		const index = new SenderIndex(stream, options);
		for await (const batch of stream.entryBatches()) {
			for (const {head} of batch) for (const id of head.sent) index.#note(id, head.n);
		}
		return index;
	}

	get places(): number {
		return this.#places;
	}

	/** The entry in which a message was sent, if it was in this stream. */
	async find(message: string): Promise<TraceEntry | undefined> {
		const [name, sequence] = split(message);
		const life = this.#lives.get(name);
		const place = life ? life.last.findIndex(last => last >= sequence) : -1;
		if (!life || place < 0) return undefined;
		const first = life.blocks[place]! * this.#width;
		for await (const batch of this.#stream.entryBatches({from: Math.max(1, first), to: first + this.#width - 1})) {
			const found = batch.find(({head}) => head.sent.includes(message));
			if (found) return found;
		}
		return undefined;
	}

	#note(id: string, n: number): void {
		const [name, sequence] = split(id);
		const block = Math.floor(n / this.#width);
		const life = this.#lives.get(name) ?? {blocks: [], last: []};
		this.#lives.set(name, life);
		if (life.blocks.at(-1) === block) life.last[life.last.length - 1] = sequence;
		else {
			life.blocks.push(block);
			life.last.push(sequence);
			if (++this.#places > Math.max(this.#placesMax, this.#lives.size)) this.#coarsen();
		}
	}

	/** Two blocks become one until it fits. */
	#coarsen(): void {
		while (this.#places > Math.max(this.#placesMax, this.#lives.size)) this.#halve();
	}

	#halve(): void {
		this.#width *= 2;
		this.#places = 0;
		for (const life of this.#lives.values()) {
			const blocks = life.blocks.map(block => block >> 1);
			const isLast = blocks.map((block, index) => block !== blocks[index + 1]);
			life.blocks = blocks.filter((_, index) => isLast[index]);
			life.last = life.last.filter((_, index) => isLast[index]);
			this.#places += life.blocks.length;
		}
	}
}

function split(id: string): [string, number] {
	const at = id.lastIndexOf(':');
	return [id.slice(0, at), Number(id.slice(at + 1))];
}
