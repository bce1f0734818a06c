/**
The actors of a trace under replay: takes record by record and compares. Its state can be kept and taken up again.
*/
import type {StartedRecord, TraceRecord} from '../trace/format.ts';
import {isOfActor} from '../trace/trace.ts';
import {type ActorMark, type Difference, ReplayedActor} from './replayed-actor.ts';

export type ReplayCounts = {
	readonly records: number;
	readonly inputs: number;
	readonly commands: number;
	/** Inputs that could not be compared because records before them were lost. */
	readonly skipped: number;
};

/** Where all actors are; contexts are shared with the replay that goes on. */
export type ReplayMark = {
	readonly actors: readonly ActorMark[];
	readonly lost: readonly string[];
	readonly counts: ReplayCounts;
};

export class ReplayedRun {
	readonly #only: string | undefined;
	readonly #actors = new Map<string, ReplayedActor>();
	/** Actors whose next input follows on lost records. */
	readonly #lost = new Set<string>();
	#counts = {records: 0, inputs: 0, commands: 0, skipped: 0};

	/** `only`: the others' records are passed over. */
	constructor(only?: string, mark?: ReplayMark) {
		this.#only = only;
		if (!mark) return;
		for (const actor of mark.actors) this.#actors.set(actor.started.actor, ReplayedActor.from(actor));
		for (const id of mark.lost) this.#lost.add(id);
		this.#counts = {...mark.counts};
	}

	get counts(): ReplayCounts {
		return this.#counts;
	}

	/** In the order of their starts. */
	get actors(): readonly ReplayedActor[] {
		return [...this.#actors.values()];
	}

	actor(id: string): ReplayedActor | undefined {
		return this.#actors.get(id);
	}

	mark(): ReplayMark {
		return {actors: this.actors.map(actor => actor.mark()), lost: [...this.#lost], counts: {...this.#counts}};
	}

	/** What is not as recorded, if anything. */
	take(record: TraceRecord): Difference | undefined {
		this.#counts.records++;
		if (record.kind === 'gap') for (const id of this.#actors.keys()) this.#lost.add(id);
		if (!isOfActor(record) || (this.#only !== undefined && record.actor !== this.#only)) return undefined;
		if (record.kind === 'started') return this.#start(record);
		const replayed = this.#actors.get(record.actor);
		// The records of its start were lost.
		if (!replayed) return void this.#counts.skipped++;
		if (record.kind === 'dropped') return void replayed.skip(record.commands ?? []);
		if (record.kind === 'ended') return undefined;
		if (this.#lost.has(record.actor)) {
			if (replayed.jumpTo(record)) this.#lost.delete(record.actor);
			return void this.#counts.skipped++;
		}
		this.#count(record);
		return replayed.feed(record);
	}

	stop(): void {
		for (const actor of this.#actors.values()) actor.stop();
	}

	#start(record: StartedRecord): Difference | undefined {
		this.#actors.get(record.actor)?.stop();
		const replayed = new ReplayedActor(record);
		this.#actors.set(record.actor, replayed);
		this.#lost.delete(record.actor);
		this.#count(record);
		return replayed.start(record);
	}

	#count({commands = []}: {readonly commands?: readonly unknown[]}): void {
		this.#counts.inputs++;
		this.#counts.commands += commands.length;
	}
}
