/**
Appends records to a trace without ever waiting for the disk: what is appended while a write is under way goes out with the
next one. The queue is bounded; a disk that fails ends the trace, never the run.
*/
import {errorText} from '../../protocols/errors.ts';
import type {TraceFile} from './file.ts';
import {
	type EndRecord,
	formatVersion,
	frameOf,
	indexInterval,
	magicOf,
	type TraceHeader,
	type TraceRecord,
} from './format.ts';

export type TraceWriterOptions = {
	readonly file: TraceFile;
	/** The sidecar for seeking; it can be made again from the trace. */
	readonly index: TraceFile;
	readonly header: Omit<TraceHeader, 'kind' | 'n' | 'format'>;
	/** Bytes that may wait for the disk; default 16 MiB. */
	readonly queueBytesMax?: number;
	/** Something the user should read: the disk is slow, or full. Each is said once. */
	readonly onNotice: (text: string) => void;
};

/** A record before it has a number. */
export type Unnumbered<R extends TraceRecord = TraceRecord> = R extends TraceRecord ? Omit<R, 'n'> : never;

type End = Omit<EndRecord, 'kind' | 'n' | 't'>;

export class TraceWriter {
	readonly #options: TraceWriterOptions;
	readonly #queueBytesMax: number;
	#queue: Uint8Array[] = [];
	#queueBytes = 0;
	/** The position of the next frame, and of those that wait or are being written. */
	#position = 0;
	#written = 0;
	/** The number of the first record that is not written yet, and the lengths of the frames before it. */
	#writtenNext = 0;
	#lastFrames: number[] = [];
	#next = 0;
	#lost = 0;
	#lastT = 0;
	#isSlowSaid = false;
	#state: 'open' | 'broken' | 'closed' = 'open';
	#writing: Promise<void> | undefined;
	#offsets: number[] = [];
	#offsetsWritten = 0;

	constructor(options: TraceWriterOptions) {
		this.#options = options;
		this.#queueBytesMax = options.queueBytesMax ?? 16 << 20;
		const {major} = formatVersion;
		this.#push(new TextEncoder().encode(magicOf(major)));
		this.#frame({kind: 'header', n: 0, format: formatVersion, ...options.header});
		this.#flush();
	}

	/** Queues a record and returns its number; `undefined` when it is lost because the queue is full or the trace has ended. */
	append(record: Unnumbered): number | undefined {
		if (this.#state !== 'open') {
			this.#lost++;
			return undefined;
		}
		if (this.#queueBytes > this.#queueBytesMax) return this.#lose();
		if (this.#lost > 0) this.#closeGap(record.t);
		this.#lastT = record.t;
		const n = this.#next;
		this.#frame({...record, n} as TraceRecord);
		this.#flush();
		return n;
	}

	/** Writes what waits and a last record. */
	async close(end: End): Promise<void> {
		await this.#drain();
		if (this.#state === 'open') {
			this.#frame({kind: 'end', n: this.#next, t: this.#lastT, ...end, ...(this.#lost > 0 && {lost: this.#lost})});
			this.#flush();
			await this.#drain();
		}
		this.#state = 'closed';
		await Promise.allSettled([this.#options.file.close(), this.#options.index.close()]);
	}

	#frame(record: TraceHeader | TraceRecord): void {
		if (record.n % indexInterval === 0) this.#offsets.push(this.#position);
		this.#push(frameOf(record));
		this.#next = record.n + 1;
	}

	#push(bytes: Uint8Array): void {
		this.#queue.push(bytes);
		this.#queueBytes += bytes.byteLength;
		this.#position += bytes.byteLength;
	}

	#lose(): undefined {
		this.#lost++;
		if (this.#isSlowSaid) return;
		this.#isSlowSaid = true;
		this.#options.onNotice('The disk takes the trace more slowly than the run makes it: some records are left out');
	}

	#closeGap(t: number): void {
		this.#frame({kind: 'gap', n: this.#next, t, lost: this.#lost});
		this.#lost = 0;
	}

	#flush(): void {
		this.#writing ??= this.#writeQueue().finally(() => {
			this.#writing = undefined;
		});
	}

	async #drain(): Promise<void> {
		while (this.#writing) await this.#writing;
	}

	async #writeQueue(): Promise<void> {
		// What is appended in this turn goes out in one write.
		await Promise.resolve();
		while (this.#queue.length > 0 && this.#state === 'open') {
			const frames = this.#queue;
			const next = this.#next;
			this.#queue = [];
			const batch = joined(frames);
			try {
				await this.#options.file.write(batch, this.#written);
			} catch (error) {
				this.#lost += frames.length;
				await this.#break(errorText(error));
				return;
			}
			// The first frame of all is no record and stays.
			this.#lastFrames = frames.slice(this.#written === 0 ? 2 : 0).map(frame => frame.byteLength);
			this.#written += batch.byteLength;
			this.#writtenNext = next;
			this.#queueBytes -= batch.byteLength;
			await this.#writeIndex();
		}
	}

	/** Offsets are f64, which holds every position exactly up to 2^53; a failure is no loss. */
	async #writeIndex(): Promise<void> {
		const fresh = this.#offsets.filter(offset => offset < this.#written);
		if (fresh.length === 0) return;
		this.#offsets = this.#offsets.slice(fresh.length);
		const bytes = new Uint8Array(new Float64Array(fresh).buffer);
		await this.#options.index.write(bytes, 8 * this.#offsetsWritten).then(
			() => {
				this.#offsetsWritten += fresh.length;
			},
			() => undefined,
		);
	}

	/** Ends the trace with a valid record after the last whole batch, or in the place of that batch's end when there is no room. */
	async #break(text: string): Promise<void> {
		this.#state = 'broken';
		this.#lost += this.#queue.length;
		this.#queue = [];
		this.#options.onNotice(
			`Cannot write the trace: ${text}; training goes on without it, free some space for the next run`,
		);
		if (this.#written === 0) return void this.#options.file.truncate(0).catch(() => undefined);
		const end = (n: number) =>
			frameOf({kind: 'end', n, t: this.#lastT, reason: 'disk', text: text.slice(0, 200), lost: this.#lost});
		if (await this.#endAt(this.#written, end(this.#writtenNext))) return;
		let [position, n] = [this.#written, this.#writtenNext];
		const needed = end(n).byteLength + 8;
		for (const length of this.#lastFrames.toReversed()) {
			position -= length;
			n--;
			if (this.#written - position >= needed) break;
		}
		await this.#endAt(position, end(n));
	}

	async #endAt(position: number, frame: Uint8Array): Promise<boolean> {
		const {file} = this.#options;
		try {
			await file.truncate(position);
			await file.write(frame, position);
			return true;
		} catch {
			await file.truncate(position).catch(() => undefined);
			return false;
		}
	}
}

function joined(frames: readonly Uint8Array[]): Uint8Array {
	if (frames.length === 1) return frames[0]!;
	const batch = new Uint8Array(frames.reduce((total, frame) => total + frame.byteLength, 0));
	let at = 0;
	for (const frame of frames) {
		batch.set(frame, at);
		at += frame.byteLength;
	}
	return batch;
}
