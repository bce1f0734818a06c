/**
A run's trace: all streams of its folder, merged so that no message is read before it was sent.
*/
import {readdir} from 'node:fs/promises';
import {basename, join} from 'node:path';
import {CutlayerError} from '../../protocols/errors.ts';
import type {ActorRecord, TraceRecord} from './format.ts';
import {MergedReading, type MergePlace, partOf} from './merge.ts';
import {type TraceEntry, TraceReader} from './read.ts';
import {SenderIndex} from './senders.ts';

/** A record and the stream it is in. */
export type Located<R extends TraceRecord = TraceRecord> = {readonly stream: TraceReader; readonly record: R};

const causesMax = 10_000;

export class Trace {
	readonly folder: string;
	readonly streams: readonly TraceReader[];
	/** Made when they are first asked for. */
	readonly #senders = new Map<TraceReader, SenderIndex>();

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
		const [only] = this.streams;
		if (only && this.streams.length === 1) {
			for await (const batch of only.batches()) for (const record of batch) yield {stream: only, record};
			return;
		}
		for await (const entry of this.entries()) yield locatedOf(entry);
	}

	/** The same as heads, several times as fast for who looks for some of them. */
	async *entries(): AsyncGenerator<TraceEntry> {
		for await (const batch of this.entryBatches()) yield* batch;
	}

	/** The same, some hundred at a time. */
	async *entryBatches(): AsyncGenerator<readonly TraceEntry[]> {
		const reading = this.reading();
		try {
			for (let batch = await reading.next(); batch.length > 0; batch = await reading.next()) yield batch;
		} finally {
			await reading.close();
		}
	}

	/** The records from a place on, for who stops and goes on. */
	reading(place?: MergePlace): MergedReading {
		return new MergedReading(this.streams, place);
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
		const ranges = await Promise.all(this.streams.map(async one => [one.name, await one.last()] as const));
		const expected =
			ranges.length > 1
				? `a stream, a colon and a number: ${ranges.map(([one, last]) => `${one}:1 to ${one}:${last}`).join(', ')}`
				: `a number from 1 to ${ranges[0]![1]}`;
		throw new CutlayerError('usage', `There is no record ${label} in ${this.folder}: expected ${expected}`);
	}

	/** Everybody who left a record, in order of appearance, and every word that one can look for. */
	async words(): Promise<{readonly actors: readonly string[]; readonly verbs: readonly string[]}> {
		const [actors, verbs] = [new Set<string>(), new Set<string>()];
		for await (const batch of this.entryBatches()) {
			for (const {head} of batch) {
				if (head.actor !== undefined) actors.add(head.actor);
				for (const verb of head.verbs) verbs.add(verb);
			}
		}
		return {actors: [...actors], verbs: [...verbs]};
	}

	/** The causes of a record, nearest first, back to the start of an actor or a word of the host. */
	async causesOf(located: Located): Promise<Located[]> {
		const causes: Located[] = [];
		let cause = await this.causeOf(located);
		while (cause && causes.length < causesMax) {
			causes.push(cause);
			cause = await this.causeOf(cause);
		}
		return causes;
	}

	/** The records that a record's commands led to: among the next `limit` of its own stream, and anywhere in the others. */
	async effectsOf({stream, record}: Located, limit = 20_000): Promise<Located[]> {
		const sent = new Set(commandsOf(record).flatMap(command => ('send' in command ? [command.id] : [])));
		const effects: Located[] = [];
		for (const other of this.streams) {
			const [from, to] = other === stream ? [record.n + 1, record.n + 1 + limit] : [1, Number.POSITIVE_INFINITY];
			for await (const batch of other.entryBatches({from, to})) {
				for (const entry of batch) {
					const {kind, message, by} = entry.head;
					const isMessage = kind === 'input' && message !== undefined && sent.has(message);
					if (isMessage || (other === stream && by === record.n)) effects.push(locatedOf(entry));
				}
			}
		}
		return effects;
	}

	close(): Promise<unknown> {
		return Promise.all(this.streams.map(stream => stream.close()));
	}

	/** The record that led to this one; nothing for a start, a word of the host, and what was sent outside the trace. */
	async causeOf({stream, record}: Located): Promise<Located | undefined> {
		if (record.kind !== 'input') return undefined;
		if (record.by !== undefined) {
			const cause = await stream.record(record.by);
			return cause && {stream, record: cause};
		}
		return record.message === undefined ? undefined : this.#senderOf(record.message, partOf(stream.name));
	}

	/** In the streams of its own part first: a resumed run's actors go on with their numbers. */
	async #senderOf(message: string, part: number): Promise<Located | undefined> {
		const isOther = (stream: TraceReader) => Number(partOf(stream.name) !== part);
		for (const stream of this.streams.toSorted((a, b) => isOther(a) - isOther(b))) {
			const senders = this.#senders.get(stream) ?? (await SenderIndex.of(stream));
			this.#senders.set(stream, senders);
			const entry = await senders.find(message);
			if (entry) return locatedOf(entry);
		}
		return undefined;
	}
}

/** An entry's record, built. */
export const locatedOf = (entry: TraceEntry): Located => ({stream: entry.stream, record: entry.record()});

/** What a record's actor did to the world. */
export const commandsOf = (record: TraceRecord) => ('commands' in record ? (record.commands ?? []) : []);

const actorKinds: readonly string[] = ['started', 'input', 'dropped', 'ended'] satisfies ActorRecord['kind'][];

/** Whether an actor left this record, one of a kind that this version knows. */
export const isOfActor = (record: TraceRecord): record is ActorRecord => actorKinds.includes(record.kind);

async function streamsIn(path: string): Promise<string[]> {
	const folder = basename(path) === 'trace' ? path : join(path, 'trace');
	const files = (await readdir(folder).catch(() => [])).filter(name => name.endsWith('.trace')).sort(byPart);
	if (files.length > 0) return files.map(name => join(folder, name));
	throw new CutlayerError(
		'trace-invalid',
		`There is no trace in ${folder}: expected the folder of a run that was not made with --trace off`,
	);
}

const byPart = (a: string, b: string) => partOf(a) - partOf(b) || (a < b ? -1 : 1);
