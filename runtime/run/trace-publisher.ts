/**
Publishes what is written to a trace file, off the training's path: pieces wait in a bounded queue for a broker that has
taken those before them. A broker that is slower than the run costs pieces, which is said once.
*/
import {setTimeout as sleep} from 'node:timers/promises';
import type {Bus} from '../../protocols/ports.ts';
import {partFrame, type TracePart} from '../../protocols/trace-parts.ts';
import type {TraceFile} from '../trace/file.ts';

/** A connection to a broker that keeps streams. */
export type KeepingBus = Required<Pick<Bus, 'keep'>> & Pick<Bus, 'close'>;

export type PublisherOptions = {
	readonly bus: KeepingBus;
	readonly subject: string;
	readonly onNotice: (text: string) => void;
	/** Bytes that may wait; default 16 MiB. */
	readonly queueBytesMax?: number;
	/** How long the broker is waited for at the end, ms; default 5,000. */
	readonly closeTimeoutMs?: number;
};

const partBytesMax = 128 << 10;

export class TracePublisher {
	readonly #options: PublisherOptions;
	readonly #queueBytesMax: number;
	#queue: TracePart[] = [];
	#queueBytes = 0;
	#said = 0;
	#isLateSaid = false;
	#publishing: Promise<void> | undefined;

	constructor(options: PublisherOptions) {
		this.#options = options;
		this.#queueBytesMax = options.queueBytesMax ?? 16 << 20;
	}

	/** The same file, whose bytes are published once the disk has them; its end when it is closed. */
	watched(file: TraceFile, name: string): TraceFile {
		let length = 0;
		return {
			write: async (bytes, position) => {
				await file.write(bytes, position);
				length = position + bytes.byteLength;
				for (let at = 0; at < bytes.byteLength; at += partBytesMax)
					this.#offer({file: name, at: position + at, bytes: bytes.slice(at, at + partBytesMax), isEnd: false});
			},
			truncate: async to => {
				await file.truncate(to);
				length = to;
			},
			close: async () => {
				await file.close();
				this.#offer({file: name, at: length, bytes: new Uint8Array(), isEnd: true});
			},
		};
	}

	/** Publishes what waits, and leaves the bus. */
	async close(): Promise<void> {
		const {closeTimeoutMs = 5000, bus, onNotice} = this.#options;
		const drained = this.#drain().then(() => true);
		const isDrained = await Promise.race([drained, sleep(closeTimeoutMs, false, {ref: false})]);
		if (!isDrained) onNotice('The broker did not take the last of the trace: what was pulled from it ends early');
		await bus.close();
	}

	#offer(part: TracePart): void {
		if (this.#queueBytes + part.bytes.byteLength > this.#queueBytesMax) {
			this.#lose();
			return;
		}
		this.#queue.push(part);
		this.#queueBytes += part.bytes.byteLength;
		this.#publishing ??= this.#publish().finally(() => {
			this.#publishing = undefined;
		});
	}

	#lose(): void {
		if (this.#isLateSaid) return;
		this.#isLateSaid = true;
		this.#options.onNotice('The broker takes the trace more slowly than the run makes it: what is pulled has a gap');
	}

	async #drain(): Promise<void> {
		while (this.#publishing) await this.#publishing;
	}

	async #publish(): Promise<void> {
		const {bus, subject} = this.#options;
		while (this.#queue.length > 0) {
			const part = this.#queue.shift()!;
			// One at a time: a piece that must be said again stays before those after it.
			await bus.keep(partFrame(subject, part), `${subject} ${this.#said++}`).catch(() => this.#lose());
			this.#queueBytes -= part.bytes.byteLength;
		}
	}
}
