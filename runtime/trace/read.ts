/**
Reads a trace record by record with memory that does not grow with it. A torn tail is cut at the last whole record;
damage before it is an error that names the record.
*/
import {type FileHandle, open} from 'node:fs/promises';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import {
	formatVersion,
	frameBytes,
	headAt,
	indexInterval,
	lengthAt,
	magicOf,
	type Place,
	recordAt,
	type TraceHeader,
	type TraceRecord,
} from './format.ts';
import type {RecordHead} from './head.ts';

/** What comes after the last whole record; 0 bytes in a trace that was closed or is still written. */
export type Tail = {readonly at: number; readonly tornBytes: number; readonly next: number};

export type Range = {
	/** The first record; default 1, the one after the header. */
	readonly from?: number;
	/** The last record; default the last there is. */
	readonly to?: number;
	/** Where a former reading came to the end, to go on there in a trace that grows. */
	readonly after?: Tail;
};

type Frame = readonly [bytes: Buffer, offset: number, length: number, place: Place];
type ReadFrame<T> = (...frame: Frame) => T;

/** A block of the file; a record that is longer is read alone. */
const chunkBytes = 256 << 10;
/** Records handed on at once: few, since what lives long costs the collector of garbage more than reading does. */
const batchMax = 64;
const magicBytes = 32;

/** The head of a record, and the way to the whole; it holds the bytes around. A class, since it is made for every record. */
export class TraceEntry {
	readonly stream: TraceReader;
	readonly head: RecordHead;
	readonly #bytes: Buffer;
	readonly #offset: number;
	readonly #length: number;
	readonly #place: Place;

	/** Throws `trace-invalid` when the frame is damaged. */
	constructor(stream: TraceReader, ...[bytes, offset, length, place]: Frame) {
		this.stream = stream;
		this.head = headAt(bytes, offset, length, place);
		this.#bytes = bytes;
		this.#offset = offset;
		this.#length = length;
		this.#place = place;
	}

	/** Throws `trace-invalid` for what is no record. */
	record(): TraceRecord {
		return recordAt(this.#bytes, this.#offset, this.#length, this.#place) as TraceRecord;
	}
}

export class TraceReader {
	/** The stream's name: the file's without its ending. */
	readonly name: string;
	readonly path: string;
	readonly header: TraceHeader;
	readonly #file: FileHandle;
	readonly #headerAt: number;
	#offsets: number[] | undefined;

	private constructor(file: FileHandle, path: string, {header, headerAt}: {header: TraceHeader; headerAt: number}) {
		this.#file = file;
		this.path = path;
		this.name = path.replace(/^.*[/\\]/, '').replace(/\.trace$/, '');
		this.header = header;
		this.#headerAt = headerAt;
	}

	/** Throws `trace-invalid` for what is no trace, or one of another major version. */
	static async open(path: string): Promise<TraceReader> {
		const file = await open(path, 'r').catch(error => {
			throw new CutlayerError('trace-invalid', `Cannot read the trace ${path}: ${errorText(error)}`, {cause: error});
		});
		try {
			const headerAt = await checkMagic(file, path);
			const bytes = await readFrom(file, headerAt, chunkBytes);
			const place = {path, n: 0, at: headerAt};
			const length = lengthAt(bytes, 0, place);
			if (length === undefined || length + frameBytes > bytes.byteLength)
				throw new CutlayerError('trace-invalid', `${path} ends inside its header: nothing of it can be read`);
			return new TraceReader(file, path, {header: recordAt(bytes, 0, length, place) as TraceHeader, headerAt});
		} catch (error) {
			await file.close();
			throw error;
		}
	}

	/** Records in order. Throws `trace-invalid` at a damaged one; the generator's value is what comes after the last. */
	records(range: Range = {}): AsyncGenerator<TraceRecord, Tail> {
		return oneByOne(this.batches(range));
	}

	/** The same, some dozens at a time. */
	batches(range: Range = {}): AsyncGenerator<TraceRecord[], Tail> {
		return this.#read(range, recordAt as ReadFrame<TraceRecord>);
	}

	/** Heads in order, each with the way to its record: several times as fast for who looks for some of them. */
	entries(range: Range = {}): AsyncGenerator<TraceEntry, Tail> {
		return oneByOne(this.entryBatches(range));
	}

	/** The same, some hundred at a time. */
	entryBatches(range: Range = {}): AsyncGenerator<TraceEntry[], Tail> {
		return this.#read(range, (...frame) => new TraceEntry(this, ...frame));
	}

	async *#read<T>(
		{after, from = after?.next ?? 1, to = Number.POSITIVE_INFINITY}: Range,
		read: ReadFrame<T>,
	): AsyncGenerator<T[], Tail> {
		let {n, at} = after ? {n: after.next, at: after.at} : await this.#entryBefore(from);
		let size = chunkBytes;
		for (;;) {
			const bytes = await readFrom(this.#file, at, size);
			let batch: T[] = [];
			let offset = 0;
			let needed = 0;
			let damage: unknown;
			while (n <= to) {
				const place = {path: this.path, n, at: at + offset};
				try {
					const length = lengthAt(bytes, offset, place);
					needed = frameBytes + (length ?? 0);
					if (length === undefined || offset + needed > bytes.length) break;
					if (n >= from) batch.push(read(bytes, offset, length, place));
				} catch (error) {
					damage = error;
					break;
				}
				offset += needed;
				n++;
				if (batch.length < batchMax) continue;
				yield batch;
				batch = [];
			}
			if (batch.length > 0) yield batch;
			// What is whole before it is read.
			if (damage !== undefined) throw damage;
			at += offset;
			const isAtEnd = bytes.length < size;
			if (n > to || isAtEnd) return {at, tornBytes: n > to ? 0 : bytes.length - offset, next: n};
			size = Math.max(chunkBytes, needed);
		}
	}

	/** One record, or nothing when the trace is shorter. */
	async record(n: number): Promise<TraceRecord | undefined> {
		for await (const record of this.records({from: n, to: n})) return record;
		return undefined;
	}

	/** The number of the last whole record. */
	async last(): Promise<number> {
		const {n} = await this.#entryBefore(Number.MAX_SAFE_INTEGER);
		const batches = this.entryBatches({from: n});
		for (;;) {
			const {done, value} = await batches.next();
			if (done) return value.next - 1;
		}
	}

	/** Records backwards from `from`, a block of the index at a time. */
	async *backwards(from: number): AsyncGenerator<TraceRecord> {
		for (let block = Math.floor(from / indexInterval); block >= 0; block--) {
			const first = Math.max(1, block * indexInterval);
			const last = Math.min(from, (block + 1) * indexInterval - 1);
			const records: TraceRecord[] = [];
			for await (const record of this.records({from: first, to: last})) records.push(record);
			yield* records.reverse();
		}
	}

	close(): Promise<void> {
		return this.#file.close();
	}

	/** The last place of the index that is not after record `n`, proven by the frame that stands there. */
	async #entryBefore(n: number): Promise<{n: number; at: number}> {
		if (n < indexInterval) return {n: 0, at: this.#headerAt};
		this.#offsets ??= await readIndex(this.path.replace(/\.trace$/, '.index'));
		for (let entry = Math.min(Math.floor(n / indexInterval), this.#offsets.length - 1); entry > 0; entry--) {
			const at = this.#offsets[entry]!;
			if (await this.#isRecord(entry * indexInterval, at)) return {n: entry * indexInterval, at};
		}
		return {n: 0, at: this.#headerAt};
	}

	async #isRecord(n: number, at: number): Promise<boolean> {
		try {
			const place = {path: this.path, n, at};
			const head = await readFrom(this.#file, at, frameBytes);
			const length = lengthAt(head, 0, place);
			if (length === undefined) return false;
			const frame = await readFrom(this.#file, at, frameBytes + length);
			if (frame.byteLength < frameBytes + length) return false;
			recordAt(frame, 0, length, place);
			return true;
		} catch {
			return false;
		}
	}
}

/** Where the header's frame begins. */
async function checkMagic(file: FileHandle, path: string): Promise<number> {
	const text = new TextDecoder('latin1').decode(await readFrom(file, 0, magicBytes));
	const found = /^cutlayer-trace (\d+)\n/.exec(text);
	if (!found) {
		const what = text.length === 0 ? 'it is empty' : `it begins with ${JSON.stringify(text.slice(0, 16))}`;
		throw new CutlayerError(
			'trace-invalid',
			`${path} is no trace: expected it to begin with "cutlayer-trace", but ${what}`,
		);
	}
	const ours = magicOf(formatVersion.major);
	if (found[0] !== ours) {
		throw new CutlayerError(
			'trace-invalid',
			`${path} has trace format ${found[1]}, this version of Cutlayer reads format ${formatVersion.major}; use the version that wrote it`,
		);
	}
	return ours.length;
}

async function readIndex(path: string): Promise<number[]> {
	try {
		const file = await open(path, 'r');
		try {
			const bytes = await file.readFile();
			const count = Math.floor(bytes.byteLength / 8);
			return Array.from({length: count}, (_, entry) => bytes.readDoubleLE(8 * entry)).map(offset =>
				Number.isSafeInteger(offset) && offset >= 0 ? offset : 0,
			);
		} finally {
			await file.close();
		}
	} catch {
		return [];
	}
}

async function* oneByOne<T>(batches: AsyncGenerator<T[], Tail>): AsyncGenerator<T, Tail> {
	for (;;) {
		const {done, value} = await batches.next();
		if (done) return value;
		yield* value;
	}
}

/** Up to `length` bytes; fewer only at the file's end. */
async function readFrom(file: FileHandle, position: number, length: number): Promise<Buffer> {
	const bytes = Buffer.allocUnsafeSlow(length);
	let read = 0;
	while (read < length) {
		const {bytesRead} = await file.read(bytes, read, length - read, position + read);
		if (bytesRead === 0) break;
		read += bytesRead;
	}
	return bytes.subarray(0, read);
}
