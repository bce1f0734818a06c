/**
A replay that stands at a record and goes on or back from there. It keeps marks of the replay now and then, fewer the longer the
trace is, so that going back costs a bounded part of it in memory and time.
*/
import type {TraceRecord} from '../trace/format.ts';
import type {MergedReading, MergePlace} from '../trace/merge.ts';
import {type Located, locatedOf, type Trace} from '../trace/trace.ts';
import type {Difference} from './replayed-actor.ts';
import {ReplayedRun, type ReplayMark} from './replayed-run.ts';
import {type Unread, UnreadMessages} from './unread.ts';

/** A record that was replayed, and in what it is not as recorded. */
export type Stepped = {readonly located: Located; readonly difference: Difference | undefined};

/** The state after `place` records. */
type Mark = {
	readonly place: number;
	/** Where the reading stands; nothing at the start. */
	readonly at: MergePlace | undefined;
	readonly last: Stepped | undefined;
	readonly run: ReplayMark | undefined;
	readonly unread: ReadonlyMap<string, readonly Unread[]>;
};

/** Whether a record is the one that is looked for. */
export type Sought = (record: TraceRecord) => boolean;

export type StepperOptions = {
	/** Only this actor's records are stepped through; the others are passed over. */
	readonly actor?: string | undefined;
	/** Records between two marks at first; default 1,000. */
	readonly markInterval?: number;
	/** Marks kept at most, before every second is dropped; default 256. */
	readonly marksMax?: number;
};

export class Stepper {
	readonly #trace: Trace;
	readonly #actor: string | undefined;
	readonly #marksMax: number;
	#markInterval: number;
	#marks: Mark[] = [{place: 0, at: undefined, last: undefined, run: undefined, unread: new Map()}];
	#run: ReplayedRun;
	#unread = new UnreadMessages();
	/** Records replayed so far; in a trace of one stream the number of the last. */
	#place = 0;
	#last: Stepped | undefined;
	#reading: MergedReading;

	constructor(trace: Trace, {actor, markInterval = 1000, marksMax = 256}: StepperOptions = {}) {
		this.#trace = trace;
		this.#actor = actor;
		this.#markInterval = markInterval;
		this.#marksMax = marksMax;
		this.#run = new ReplayedRun(actor);
		this.#reading = trace.reading();
	}

	/** The record it stands at: the last that was replayed; nothing at the start. */
	get last(): Stepped | undefined {
		return this.#last;
	}

	get marks(): number {
		return this.#marks.length;
	}

	/** State and context of an actor that has started, as they are after the record. */
	actor(id: string): {readonly state: unknown; readonly context: unknown} | undefined {
		const actor = this.#run.actor(id);
		return actor && {state: actor.state, context: actor.context};
	}

	/** Actors that have started. */
	get actors(): readonly string[] {
		return this.#run.actors.map(({id}) => id);
	}

	unread(receiver: string): readonly Unread[] {
		return this.#unread.of(receiver);
	}

	/** Replays up to the next record; nothing, and no step, at the end. */
	async next(): Promise<Stepped | undefined> {
		if (this.#actor !== undefined) return this.forward(() => true);
		// The very next one needs no looking ahead.
		return (await this.#advance()) ? this.#last : undefined;
	}

	/** Stands at the record before; nothing, and no step, at the first. */
	previous(): Promise<Stepped | undefined> {
		return this.back(() => true);
	}

	/** Replays up to the next record that is sought; nothing, and no step, when none comes. */
	async forward(isSought: Sought): Promise<Stepped | undefined> {
		const place = await this.#placeAfter(this.#place, isSought);
		return place === undefined ? undefined : this.#goTo(place);
	}

	/** Stands at the last record before this one that is sought; nothing, and no step, when there is none. */
	async back(isSought: Sought): Promise<Stepped | undefined> {
		let end = this.#place;
		for (const mark of this.#marks.toReversed()) {
			if (mark.place >= end) continue;
			const place = await this.#lastBetween(mark.place, end, isSought);
			if (place !== undefined) return this.#goTo(place);
			end = mark.place + 1;
		}
		return undefined;
	}

	/** Stands at the first record of the whole trace that is sought; nothing, and no step, when there is none. */
	async to(isSought: Sought): Promise<Stepped | undefined> {
		const place = await this.#placeAfter(0, isSought);
		return place === undefined ? undefined : this.#goTo(place);
	}

	async stop(): Promise<void> {
		this.#run.stop();
		await this.#reading.close();
	}

	#isShown(record: TraceRecord): boolean {
		return this.#actor === undefined || ('actor' in record && record.actor === this.#actor);
	}

	/** Looks ahead without replaying, so that a search in vain moves nothing. */
	async #placeAfter(from: number, isSought: Sought): Promise<number | undefined> {
		for await (const [place, record] of this.#recordsAfter(from))
			if (this.#isShown(record) && isSought(record)) return place;
		return undefined;
	}

	async #lastBetween(from: number, end: number, isSought: Sought): Promise<number | undefined> {
		let found: number | undefined;
		for await (const [place, record] of this.#recordsAfter(from)) {
			if (place >= end) break;
			if (this.#isShown(record) && isSought(record)) found = place;
		}
		return found;
	}

	/** The records after the first `from`, each with its place; read from the mark before. */
	async *#recordsAfter(from: number): AsyncGenerator<[number, TraceRecord]> {
		let {place, at} = this.#markBefore(from);
		const reading = this.#trace.reading(at);
		try {
			for (let batch = await reading.next(); batch.length > 0; batch = await reading.next())
				for (const entry of batch) if (++place > from) yield [place, entry.record()];
		} finally {
			await reading.close();
		}
	}

	#markBefore(place: number): Mark {
		return this.#marks.findLast(one => one.place <= place)!;
	}

	async #goTo(place: number): Promise<Stepped | undefined> {
		const mark = this.#markBefore(place);
		// Going on from here is shorter than from a mark.
		if (this.#place > place || mark.place > this.#place) await this.#restore(mark);
		while (this.#place < place && (await this.#advance()));
		return this.#last;
	}

	async #restore({place, at, last, run, unread}: Mark): Promise<void> {
		await this.stop();
		this.#run = new ReplayedRun(this.#actor, run);
		this.#unread = new UnreadMessages(unread);
		this.#place = place;
		this.#last = last;
		this.#reading = this.#trace.reading(at);
	}

	async #advance(): Promise<boolean> {
		const [entry] = await this.#reading.next(1);
		if (!entry) return false;
		const located = locatedOf(entry);
		const difference = this.#run.take(located.record);
		this.#unread.take(located.record);
		this.#last = {located, difference};
		this.#place++;
		if (this.#place >= this.#marks.at(-1)!.place + this.#markInterval) this.#mark();
		return true;
	}

	#mark(): void {
		const [place, last] = [this.#place, this.#last];
		this.#marks.push({place, last, at: this.#reading.place, run: this.#run.mark(), unread: this.#unread.mark()});
		if (this.#marks.length <= this.#marksMax) return;
		this.#marks = this.#marks.filter((_, index) => index % 2 === 0);
		this.#markInterval *= 2;
	}
}
