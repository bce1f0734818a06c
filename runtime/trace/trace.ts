/**
A run's trace: all streams of its folder, merged so that no message is read before it was sent.
*/
import {readdir} from 'node:fs/promises';
import {basename, join} from 'node:path';
import {CutlayerError} from '../../protocols/errors.ts';
import type {ActorRecord, InputRecord, TraceRecord} from './format.ts';
import {TraceReader} from './read.ts';

/** A record and the stream it is in. */
export type Located<R extends TraceRecord = TraceRecord> = {readonly stream: TraceReader; readonly record: R};

const causesMax = 10_000;

export class Trace {
	readonly folder: string;
	readonly streams: readonly TraceReader[];

	private constructor(folder: string, streams: readonly TraceReader[]) {
		this.folder = folder;
		this.streams = streams;
	}

	/** Opens a run folder, its `trace/` or one `.trace` file. Throws `trace-invalid`. */
	static async open(path: string): Promise<Trace> {
		const paths = path.endsWith('.trace') ? [path] : await streamsIn(path);
		const streams: TraceReader[] = [];
		try {
			for (const file of paths) streams.push(await TraceReader.open(file));
		} catch (error) {
			await Promise.all(streams.map(stream => stream.close()));
			throw error;
		}
		return new Trace(path, streams);
	}

	/** Every record, each message's sending before its arrivals; streams that a resumed run left come one after the other. */
	async *records(): AsyncGenerator<Located> {
		for (const group of segments(this.streams)) yield* merged(group);
	}

	/** `41`, or `main:41` where there are several streams. */
	label({stream, record}: Located): string {
		return this.streams.length > 1 ? `${stream.name}:${record.n}` : `${record.n}`;
	}

	/** The record that a label names. Throws `usage` when there is none. */
	async find(label: string): Promise<Located> {
		const [, name, digits] = /^(?:(.+):)?(\d+)$/.exec(label) ?? [];
		const stream = name === undefined ? this.streams[0] : this.streams.find(one => one.name === name);
		const record = stream && digits !== undefined ? await stream.record(Number(digits)) : undefined;
		if (stream && record) return {stream, record};
		const names = this.streams.map(one => one.name).join(', ');
		throw new CutlayerError(
			'usage',
			`There is no record ${label} in ${this.folder}: expected a number${this.streams.length > 1 ? ` after a stream and a colon; streams are ${names}` : ' of the trace'}`,
		);
	}

	/** The causes of a record, nearest first, back to the start of an actor or a word of the host. */
	async causesOf(located: Located): Promise<Located[]> {
		const causes: Located[] = [];
		let cause = await this.#causeOf(located);
		while (cause && causes.length < causesMax) {
			causes.push(cause);
			cause = await this.#causeOf(cause);
		}
		return causes;
	}

	/** The records that a record's commands led to, among the next `limit` of each stream. */
	async effectsOf({stream, record}: Located, limit = 20_000): Promise<Located[]> {
		const sent = new Set(commandsOf(record).flatMap(command => ('send' in command ? [command.id] : [])));
		const effects: Located[] = [];
		for (const other of this.streams) {
			const from = other === stream ? record.n + 1 : 1;
			for await (const next of other.records({from, to: from + limit})) {
				if (next.kind !== 'input') continue;
				const isMessage = next.message !== undefined && sent.has(next.message);
				if (isMessage || (other === stream && next.by === record.n)) effects.push({stream: other, record: next});
			}
		}
		return effects;
	}

	close(): Promise<unknown> {
		return Promise.all(this.streams.map(stream => stream.close()));
	}

	async #causeOf({stream, record}: Located): Promise<Located | undefined> {
		if (record.kind !== 'input') return undefined;
		if (record.by !== undefined) {
			const cause = await stream.record(record.by);
			return cause && {stream, record: cause};
		}
		return record.message === undefined ? undefined : this.#senderOf(record.message);
	}

	async #senderOf(message: string): Promise<Located | undefined> {
		for (const stream of this.streams) {
			for await (const record of stream.records()) {
				if (commandsOf(record).some(command => 'send' in command && command.id === message)) return {stream, record};
			}
		}
		return undefined;
	}
}

/** What a record's actor did to the world. */
export const commandsOf = (record: TraceRecord) => ('commands' in record ? (record.commands ?? []) : []);

/** Whether an actor left this record. */
export const isOfActor = (record: TraceRecord): record is ActorRecord => 'actor' in record;

async function streamsIn(path: string): Promise<string[]> {
	const folder = basename(path) === 'trace' ? path : join(path, 'trace');
	const files = (await readdir(folder).catch(() => [])).filter(name => name.endsWith('.trace')).sort(byPart);
	if (files.length > 0) return files.map(name => join(folder, name));
	throw new CutlayerError(
		'trace-invalid',
		`There is no trace in ${folder}: expected the folder of a run that was not made with --trace off`,
	);
}

/** `run.10` comes after `run.2`; an id has no dot. */
const byPart = (a: string, b: string) => partOf(a) - partOf(b) || (a < b ? -1 : 1);
const partOf = (name: string) => Number(/\.(\d+)(\.trace)?$/.exec(name)?.[1] ?? 1);

/** Streams of one part of the run, which were written at the same time. */
function segments(streams: readonly TraceReader[]): TraceReader[][] {
	const parts = new Map<number, TraceReader[]>();
	for (const stream of streams) {
		const part = partOf(stream.name);
		parts.set(part, [...(parts.get(part) ?? []), stream]);
	}
	return [...parts.values()];
}

type Head = {readonly stream: TraceReader; readonly next: AsyncGenerator<TraceRecord>; record: TraceRecord};

/** Of the heads whose message was sent already the earliest; of all heads the earliest, when a sender's stream is missing. */
async function* merged(streams: readonly TraceReader[]): AsyncGenerator<Located> {
	const [only] = streams;
	if (only && streams.length === 1) {
		for await (const record of only.records()) yield {stream: only, record};
		return;
	}
	const sent = new Map<string, number>();
	let heads: Head[] = [];
	for (const stream of streams) {
		const next = stream.records();
		const {done, value} = await next.next();
		if (!done) heads.push({stream, next, record: value});
	}
	while (heads.length > 0) {
		const ready = heads.filter(({record}) => record.kind !== 'input' || isSent(record, sent));
		const head = (ready.length > 0 ? ready : heads).reduce((a, b) => (b.record.t < a.record.t ? b : a));
		yield {stream: head.stream, record: head.record};
		for (const command of commandsOf(head.record)) if ('send' in command) note(command.id, sent);
		const {done, value} = await head.next.next();
		if (done) heads = heads.filter(one => one !== head);
		else head.record = value;
	}
}

/** A sender's messages are numbered in the order in which they leave. */
function note(id: string, sent: Map<string, number>): void {
	const at = id.lastIndexOf(':');
	sent.set(id.slice(0, at), Number(id.slice(at + 1)));
}

function isSent({message}: InputRecord, sent: ReadonlyMap<string, number>): boolean {
	if (message === undefined) return true;
	const at = message.lastIndexOf(':');
	return (sent.get(message.slice(0, at)) ?? -1) >= Number(message.slice(at + 1));
}
