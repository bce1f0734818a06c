/**
Replays a trace: every actor's recorded inputs into the same machine, every command and state compared.
*/
import type {StartedRecord, TraceRecord} from '../trace/format.ts';
import {isOfActor, type Located, type Trace} from '../trace/trace.ts';
import {type Difference, ReplayedActor} from './replayed-actor.ts';

export type ReplayOptions = {
	/** Only this actor. */
	readonly actor?: string;
	/** The number of the last record of each stream; default all. */
	readonly to?: number;
};

/** Where a replay parts from the record. */
export type Divergence = Difference & {
	readonly at: Located;
	readonly actor: string;
	/** The state after the replayed input. */
	readonly state: unknown;
	/** Back to the start, nearest first. */
	readonly causes: readonly Located[];
};

export type ReplayResult = {
	readonly records: number;
	readonly inputs: number;
	readonly commands: number;
	readonly actors: readonly string[];
	/** Inputs that could not be compared because records before them were lost. */
	readonly skipped: number;
	readonly divergence: Divergence | undefined;
	/** State and context of each actor at the end of the replay. */
	readonly ends: ReadonlyMap<string, {readonly state: unknown; readonly context: unknown}>;
};

/** Stops at the first divergence. Throws `trace-invalid` for a damaged record. */
export async function replayTrace(trace: Trace, options: ReplayOptions = {}): Promise<ReplayResult> {
	const replay = new Replay(options);
	try {
		for await (const located of trace.records()) {
			const difference = replay.take(located.record);
			if (difference) return await replay.result(trace, located, difference);
		}
		return await replay.result(trace);
	} finally {
		replay.stop();
	}
}

class Replay {
	readonly #options: ReplayOptions;
	readonly #actors = new Map<string, ReplayedActor>();
	/** Actors whose next input follows on lost records. */
	readonly #lost = new Set<string>();
	#counts = {records: 0, inputs: 0, commands: 0, skipped: 0};

	constructor(options: ReplayOptions) {
		this.#options = options;
	}

	/** What is not as recorded, if anything. */
	take(record: TraceRecord): Difference | undefined {
		const {actor, to = Number.POSITIVE_INFINITY} = this.#options;
		if (record.n > to) return undefined;
		this.#counts.records++;
		if (record.kind === 'gap') for (const id of this.#actors.keys()) this.#lost.add(id);
		if (!isOfActor(record) || (actor !== undefined && record.actor !== actor)) return undefined;
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

	async result(trace: Trace, at?: Located, difference?: Difference): Promise<ReplayResult> {
		const ends = new Map([...this.#actors].map(([id, {state, context}]) => [id, {state, context}]));
		const actors = [...this.#actors.keys()];
		if (!at || !difference || !isOfActor(at.record)) return {...this.#counts, actors, ends, divergence: undefined};
		const {actor} = at.record;
		const causes = await trace.causesOf(at);
		const state = this.#actors.get(actor)?.state;
		return {...this.#counts, actors, ends, divergence: {...difference, at, actor, state, causes}};
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
