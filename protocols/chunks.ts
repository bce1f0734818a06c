/**
Frames too long for the broker: cut into chunks, and put together again within bounds on memory and time.
Chunks may come twice and in any order; what they say about the whole must agree.
*/
import {crc32} from './crc32.ts';
import {type FrameProblem, headerNames, problemOf, wholeNumber} from './envelope.ts';
import type {Frame} from './ports.ts';

/** Bounds on frames that are not whole yet. */
export type ReassemblyLimits = {
	/** Longest whole body, in bytes; default 256 MiB. */
	readonly frameBytesMax: number;
	/** What one sender's unfinished frames may take, in bytes as declared; default 512 MiB. */
	readonly senderBytesMax: number;
	/** What all unfinished frames may take, in bytes as declared; default 2 GiB. */
	readonly bytesMax: number;
	/** How long after its first chunk a frame is given up; default 60,000. */
	readonly timeoutMs: number;
};

export const defaultReassemblyLimits: ReassemblyLimits = {
	frameBytesMax: 256 * 2 ** 20,
	senderBytesMax: 512 * 2 ** 20,
	bytesMax: 2 * 2 ** 30,
	timeoutMs: 60_000,
};

/** Puts chunks together. It knows no clock: the time is passed in. */
export interface Reassembler {
	/** Takes a frame; gives it back when it is no chunk, the whole frame with its last chunk, a problem, or nothing yet. */
	accept(frame: Frame, nowMs: number): {readonly frame?: Frame; readonly problem?: FrameProblem};
	/** Gives up frames whose time is over and says which; the owner calls it with every frame or on a timer. */
	expire(nowMs: number): readonly FrameProblem[];
	/** Bytes held for unfinished frames, as declared. */
	readonly bytes: number;
}

/** Whether a frame is a part of a longer one. */
export const isChunk = (frame: Frame): boolean => frame.headers[headerNames.chunkIndex] !== undefined;

/** The frame itself when its body fits, else its chunks of equal length (the last may be shorter); bodies are views. */
export function splitFrame(frame: Frame, bodyBytesMax: number): readonly Frame[] {
	const {body, headers, subject} = frame;
	if (body.byteLength <= bodyBytesMax) return [frame];
	if (bodyBytesMax < 1) throw new Error(`A chunk needs at least 1 byte, not ${bodyBytesMax}`);
	const count = Math.ceil(body.byteLength / bodyBytesMax);
	const messageId = headers[headerNames.messageId] ?? '';
	const whole = {
		...headers,
		[headerNames.chunkOf]: messageId,
		[headerNames.chunkCount]: String(count),
		[headerNames.chunkTotal]: String(body.byteLength),
		[headerNames.chunkCrc32]: String(crc32(body)),
	};
	return Array.from({length: count}, (_, index) => ({
		subject,
		headers: {
			...whole,
			// Each its own id, or the broker's de-duplication would keep the first chunk only.
			[headerNames.messageId]: `${messageId}:${index}`,
			[headerNames.chunkIndex]: String(index),
		},
		body: body.subarray(index * bodyBytesMax, (index + 1) * bodyBytesMax),
	}));
}

/** What a chunk says; `each` is the length of every chunk but the last. */
type Chunk = {messageId: string; index: number; count: number; total: number; crc: number; each: number};

type Assembly = Chunk & {
	sender: string;
	cost: number;
	startedMs: number;
	body: Uint8Array;
	arrived: Uint8Array;
	missing: number;
};

/** What an unfinished frame takes besides its body, about. */
const overheadBytes = 1024;

/** How many ended frames are remembered. */
const endedMax = 1024;

/** A reassembler with its own memory. */
export function createReassembler(limits: Partial<ReassemblyLimits> = {}): Reassembler {
	return new BoundedReassembler({...defaultReassemblyLimits, ...limits});
}

class BoundedReassembler implements Reassembler {
	bytes = 0;
	private readonly limits: ReassemblyLimits;
	private readonly assemblies = new Map<string, Assembly>();
	private readonly bytesOfSender = new Map<string, number>();
	private readonly ended = new Set<string>();

	constructor(limits: ReassemblyLimits) {
		this.limits = limits;
	}

	accept(frame: Frame, nowMs: number): {frame?: Frame; problem?: FrameProblem} {
		if (!isChunk(frame)) return {frame};
		const chunk = readChunk(frame);
		if ('code' in chunk) return {problem: chunk};
		const key = `${frame.subject} ${chunk.messageId}`;
		if (this.ended.has(key)) return {};
		const assembly = this.assemblies.get(key) ?? this.begin(key, frame, chunk, nowMs);
		if ('code' in assembly) return {problem: assembly};
		const problem = place(assembly, chunk, frame.body);
		if (problem) {
			this.end(key, assembly);
			return {problem};
		}
		return assembly.missing === 0 ? this.finish(key, assembly, frame) : {};
	}

	expire(nowMs: number): readonly FrameProblem[] {
		const problems: FrameProblem[] = [];
		for (const [key, assembly] of this.assemblies) {
			if (nowMs - assembly.startedMs < this.limits.timeoutMs) break; // the rest began later
			this.end(key, assembly);
			const found = `${assembly.count - assembly.missing} of ${assembly.count} chunks of ${assembly.messageId} after ${this.limits.timeoutMs} ms`;
			problems.push(
				problemOf(
					'chunk-late',
					headerNames.chunkCount,
					found,
					'all chunks in time',
					'send the message again under a new id',
				),
			);
		}
		return problems;
	}

	/** Reserves what the first chunk declares; the memory itself is only touched as chunks arrive. */
	private begin(key: string, frame: Frame, chunk: Chunk, nowMs: number): Assembly | FrameProblem {
		const {frameBytesMax, senderBytesMax, bytesMax} = this.limits;
		const sender = frame.subject.split('.').slice(0, 5).join('.');
		const ofSender = this.bytesOfSender.get(sender) ?? 0;
		const cost = chunk.total + Math.ceil(chunk.count / 8) + overheadBytes;
		if (chunk.total > frameBytesMax || ofSender + cost > senderBytesMax || this.bytes + cost > bytesMax) {
			const expected = `at most ${frameBytesMax} bytes, ${senderBytesMax} unfinished of one sender and ${bytesMax} of all`;
			return problemOf(
				'too-large',
				headerNames.chunkTotal,
				`${chunk.total} bytes`,
				expected,
				'send smaller batches or wait for replies',
			);
		}
		const body = new Uint8Array(chunk.total);
		const arrived = new Uint8Array(Math.ceil(chunk.count / 8));
		const assembly = {...chunk, sender, cost, startedMs: nowMs, body, arrived, missing: chunk.count};
		this.assemblies.set(key, assembly);
		this.bytesOfSender.set(sender, ofSender + cost);
		this.bytes += cost;
		return assembly;
	}

	private finish(key: string, assembly: Assembly, last: Frame): {frame?: Frame; problem?: FrameProblem} {
		this.end(key, assembly);
		const crc = crc32(assembly.body);
		if (crc !== assembly.crc) {
			return {
				problem: problemOf(
					'chunk-invalid',
					headerNames.chunkCrc32,
					String(crc),
					String(assembly.crc),
					'send the message again under a new id',
				),
			};
		}
		return {frame: {subject: last.subject, headers: wholeHeaders(last, assembly.messageId), body: assembly.body}};
	}

	/** Frees a frame and remembers its key, so that a late chunk of it starts nothing. */
	private end(key: string, {sender, cost}: Assembly): void {
		this.assemblies.delete(key);
		this.bytes -= cost;
		const left = (this.bytesOfSender.get(sender) ?? 0) - cost;
		if (left > 0) this.bytesOfSender.set(sender, left);
		else this.bytesOfSender.delete(sender);
		this.ended.add(key);
		if (this.ended.size <= endedMax) return;
		const [oldest] = this.ended;
		this.ended.delete(oldest!);
	}
}

/** Reads what a chunk says of itself and the whole; refuses what no sender of ours could have cut. */
function readChunk({headers, body}: Frame): Chunk | FrameProblem {
	const numbers: number[] = [];
	for (const name of [headerNames.chunkIndex, headerNames.chunkCount, headerNames.chunkTotal, headerNames.chunkCrc32]) {
		const value = wholeNumber(headers[name]);
		if (value === undefined)
			return problemOf('chunk-invalid', name, headers[name], 'a whole number', 'use one version on both sides');
		numbers.push(value);
	}
	const [index, count, total, crc] = numbers as [number, number, number, number];
	const messageId = headers[headerNames.chunkOf];
	if (!messageId || messageId.length > 100) {
		return problemOf('chunk-invalid', headerNames.chunkOf, messageId, 'a message id', 'use one version on both sides');
	}
	const each = index === count - 1 ? (total - body.byteLength) / index : body.byteLength;
	const isPart = count >= 2 && index < count && Number.isInteger(each) && each > 0 && Math.ceil(total / each) === count;
	if (isPart && body.byteLength > 0) return {messageId, index, count, total, crc, each};
	const found = `chunk ${index} of ${count} with ${body.byteLength} of ${total} bytes`;
	return problemOf(
		'chunk-invalid',
		headerNames.chunkIndex,
		found,
		'chunks of equal length that add up',
		'send the message again under a new id',
	);
}

/** Copies a chunk to its place; a chunk that disagrees with the others is a lie about the whole. */
function place(assembly: Assembly, chunk: Chunk, body: Uint8Array): FrameProblem | undefined {
	const lie = (['count', 'total', 'crc', 'each'] as const).find(name => chunk[name] !== assembly[name]);
	if (lie) {
		return problemOf(
			'chunk-invalid',
			`the ${lie} of chunk ${chunk.index}`,
			String(chunk[lie]),
			String(assembly[lie]),
			'send the message again under a new id',
		);
	}
	const bit = 1 << (chunk.index & 7);
	if (assembly.arrived[chunk.index >> 3]! & bit) return undefined;
	assembly.arrived[chunk.index >> 3]! |= bit;
	assembly.missing--;
	assembly.body.set(body, chunk.index * chunk.each);
	return undefined;
}

function wholeHeaders({headers}: Frame, messageId: string): Record<string, string> {
	const whole: Record<string, string> = {...headers, [headerNames.messageId]: messageId};
	for (const name of chunkHeaders) delete whole[name];
	return whole;
}

const chunkHeaders = [
	headerNames.chunkOf,
	headerNames.chunkIndex,
	headerNames.chunkCount,
	headerNames.chunkTotal,
	headerNames.chunkCrc32,
];
