/**
The format of a trace: its records and how one is framed in bytes. docs/trace.md is its description. No files here.
*/
import {crc32} from 'node:zlib';
import {packPlain, unpackPlain} from '../../protocols/codec.ts';
import {crc32 as crc32OfFew} from '../../protocols/crc32.ts';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import {HeadScan, type RecordHead} from './head.ts';
import type {Operation} from './patch.ts';

/** A reader refuses another major version by name and ignores fields it does not know. */
export const formatVersion = {major: 1, minor: 1} as const;

/** What a file begins with: the name of the format and its major version. */
export const magicOf = (major: number): string => `cutlayer-trace ${major}\n`;

/** Every so many records the index has an entry. */
export const indexInterval = 1000;
/** Every so many inputs of an actor its record holds the whole context in place of a patch. */
export const wholeInterval = 1000;

export type TraceLevel = 'off' | 'digest' | 'full';

/** Tensors by handle, each as `<dtype>[<shape>]:<first 32 hex digits of SHA-256>`. */
export type Digests = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** What a run is, as far as equal runs share it. */
export type TraceHeader = {
	readonly kind: 'header';
	readonly n: 0;
	readonly format: {readonly major: number; readonly minor: number};
	/** Version of Cutlayer that wrote it. */
	readonly code: string;
	/** SHA-256 of the scenario, hex. */
	readonly scenarioHash: string;
	readonly seed: number;
	readonly backend: string;
	readonly clock: 'wall' | 'virtual';
	readonly level: 'digest' | 'full';
};

/** What an actor did to the world. */
export type Command =
	| {
			readonly send: string;
			readonly to?: string;
			readonly id: string;
			readonly bytes: number;
			readonly body: unknown;
			readonly tensors?: Digests;
			/** Frobenius norm of the adapter that it carries. */
			readonly norm?: number;
	  }
	| {readonly unsent: string; readonly to?: string; readonly body: unknown; readonly problem: string}
	| {readonly pass: string; readonly input: unknown}
	| {readonly timer: number; readonly delayMs: number};

/** What follows from a start or an input. `state` is left out when it is as before, `patch` when nothing changed. */
export type Outcome = {
	readonly state?: unknown;
	readonly patch?: readonly Operation[];
	/** The whole context, in place of a patch. */
	readonly context?: unknown;
	readonly commands?: readonly Command[];
	/** The machine threw this. */
	readonly thrown?: string;
};

/** `n` is the record's number in its stream, `t` milliseconds of run time. */
type Of<Kind extends string> = {readonly kind: Kind; readonly n: number; readonly t: number};
type OfActor<Kind extends string> = Of<Kind> & {readonly actor: string};

export type StartedRecord = OfActor<'started'> &
	Outcome & {
		readonly role: string;
		readonly incarnation: number;
		/** The number of the actor's next message. */
		readonly sequence: number;
		readonly input?: object;
		readonly snapshot?: unknown;
		readonly tensors?: Digests;
	};

/** An event that entered a machine: a message, a timer's firing, a pass's result or the host's word. */
export type InputRecord = OfActor<'input'> &
	Outcome & {
		readonly event: TraceEvent;
		/** The id of the message that came. */
		readonly message?: string;
		readonly timer?: number;
		/** The record in this stream that caused it, when it is in this stream. */
		readonly by?: number;
		readonly tensors?: Digests;
	};

export type TraceEvent = {readonly type: string; readonly from?: string; readonly body?: unknown};

/** A frame that was refused before it reached the machine. */
export type DroppedRecord = OfActor<'dropped'> &
	Pick<Outcome, 'commands'> & {
		readonly from: string;
		readonly code: string;
		readonly field: string;
		readonly found: string;
		readonly expected: string;
	};

export type EndedRecord = OfActor<'ended'> & {readonly failure: string | null; readonly isThrown: boolean};
/** Records that found no room in the queue. Every actor's next record holds its whole context. */
export type GapRecord = Of<'gap'> & {readonly lost: number};
/** The last record. `lost` are the records after it that could not be written. */
export type EndRecord = Of<'end'> & {
	readonly reason: 'done' | 'failed' | 'interrupted' | 'disk';
	readonly text?: string;
	readonly lost?: number;
	readonly tensorsLost?: number;
};

/** A record of an actor, after the header. */
export type ActorRecord = StartedRecord | InputRecord | DroppedRecord | EndedRecord;
export type TraceRecord = ActorRecord | GapRecord | EndRecord;

/** A frame is a header of `frameBytes` (length, CRC-32 of the payload, CRC-32 of those eight bytes) and one msgpack value. */
export const frameBytes = 12;
/** Longer records are refused, so that a damaged length cannot fill the memory. */
export const recordBytesMax = 64 << 20;

/** The frame of a record; the memory around it belongs to others. */
export function frameOf(record: TraceHeader | TraceRecord): Uint8Array {
	const frame = packPlain(record, frameBytes);
	frame.writeUInt32LE(frame.length - frameBytes, 0);
	frame.writeUInt32LE(crc32(frame.subarray(frameBytes)), 4);
	frame.writeUInt32LE(crc32OfFew(frame.subarray(0, 8)), 8);
	return frame;
}

/** Where a frame stands, for messages. */
export type Place = {readonly path: string; readonly n: number; readonly at: number};

/**
The payload's length of the frame that begins at `offset`; `undefined` when the bytes end inside its header.
Throws `trace-invalid` for a header that no writer wrote.
*/
export function lengthAt(bytes: Buffer, offset: number, place: Place): number | undefined {
	if (bytes.length - offset < frameBytes) return undefined;
	const [expected, found] = [bytes.readUInt32LE(offset + 8), crc32OfFew(bytes.subarray(offset, offset + 8))];
	if (expected !== found) throw damaged(place, expected, found);
	const length = bytes.readUInt32LE(offset);
	if (length <= recordBytesMax) return length;
	throw invalid(place, `expected at most ${recordBytesMax} bytes in a record, found ${length}`);
}

/** The record of a whole frame. Throws `trace-invalid` when its checksum or its content is wrong. */
export function recordAt(bytes: Buffer, offset: number, length: number, place: Place): TraceHeader | TraceRecord {
	checkPayload(bytes, offset, length, place);
	const record = recordIn(bytes, offset, length, place) as Partial<TraceRecord>;
	if (typeof record !== 'object' || record === null || typeof record.kind !== 'string' || record.n !== place.n) {
		throw invalid(place, `expected a record with number ${place.n}, found ${JSON.stringify(record)?.slice(0, 80)}`);
	}
	return record as TraceRecord;
}

const heads = new HeadScan();

/** The head of a whole frame's record, for who need not have it all. Throws the same. */
export function headAt(bytes: Buffer, offset: number, length: number, place: Place): RecordHead {
	checkPayload(bytes, offset, length, place);
	const head = headIn(bytes, offset, length, place);
	if (head.n === place.n) return head;
	throw invalid(place, `expected a record with number ${place.n}, found ${head.kind} ${head.n}`);
}

function checkPayload(bytes: Buffer, offset: number, length: number, place: Place): void {
	const start = offset + frameBytes;
	const [expected, found] = [bytes.readUInt32LE(offset + 4), crc32(bytes.subarray(start, start + length))];
	if (expected !== found) throw damaged(place, expected, found);
}

function recordIn(bytes: Buffer, offset: number, length: number, place: Place): unknown {
	try {
		return unpackPlain(bytes, offset + frameBytes, offset + frameBytes + length);
	} catch (error) {
		throw invalid(place, `expected one msgpack value, found ${errorText(error)}`);
	}
}

function headIn(bytes: Buffer, offset: number, length: number, place: Place): RecordHead {
	try {
		return heads.read(bytes, offset + frameBytes, offset + frameBytes + length);
	} catch (error) {
		throw invalid(place, `expected a record with number ${place.n}, found ${errorText(error)}`);
	}
}

const hex = (value: number) => value.toString(16).padStart(8, '0');

const damaged = (place: Place, expected: number, found: number) =>
	invalid(place, `expected the checksum ${hex(expected)}, found ${hex(found)}: bytes were changed`);

const invalid = ({path, n, at}: Place, text: string) =>
	new CutlayerError(
		'trace-invalid',
		`${path}: record ${n} at byte ${at} is damaged: ${text}; the records before it are whole, read them with --to ${Math.max(0, n - 1)}`,
	);
