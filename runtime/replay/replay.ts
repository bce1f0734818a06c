/**
Replays a trace: every actor's recorded inputs into the same machine, every command and state compared.
*/
import type {ActorRecord} from '../trace/format.ts';
import type {Located, Trace} from '../trace/trace.ts';
import type {Difference} from './replayed-actor.ts';
import {type ReplayCounts, ReplayedRun} from './replayed-run.ts';

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

export type ReplayResult = ReplayCounts & {
	readonly actors: readonly string[];
	readonly divergence: Divergence | undefined;
	/** State and context of each actor at the end of the replay. */
	readonly ends: ReadonlyMap<string, {readonly state: unknown; readonly context: unknown}>;
};

/** Stops at the first divergence. Throws `trace-invalid` for a damaged record. */
export async function replayTrace(
	trace: Trace,
	{actor, to = Number.POSITIVE_INFINITY}: ReplayOptions = {},
): Promise<ReplayResult> {
	const run = new ReplayedRun(actor);
	try {
		for await (const located of trace.records()) {
			const difference = located.record.n > to ? undefined : run.take(located.record);
			if (difference) return {...endOf(run), divergence: await divergenceOf(run, trace, located, difference)};
		}
		return {...endOf(run), divergence: undefined};
	} finally {
		run.stop();
	}
}

function endOf(run: ReplayedRun) {
	const ends = new Map(run.actors.map(({id, state, context}) => [id, {state, context}]));
	return {...run.counts, actors: [...ends.keys()], ends};
}

async function divergenceOf(run: ReplayedRun, trace: Trace, at: Located, difference: Difference): Promise<Divergence> {
	const {actor} = at.record as ActorRecord;
	return {...difference, at, actor, state: run.actor(actor)?.state, causes: await trace.causesOf(at)};
}
