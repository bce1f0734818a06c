/**
The right to act as a server of a run, in a key of the broker that is changed by revision: of two that want it one gets it, and who
has lost it can say nothing any more, since what a server says leaves only after the key took its newest checkpoint.
*/
import {randomUUID} from 'node:crypto';
import {hostname} from 'node:os';
import {setTimeout as sleep} from 'node:timers/promises';
import {type KvEntry, NatsError} from 'nats';
import {errorText} from '../../protocols/errors.ts';
import {isAlive} from '../setup/is-alive.ts';
import type {RunStreams} from './run-streams.ts';
import type {SavedAt} from './saved-states.ts';

/** Somebody else acts in its place: nothing more may leave. */
export class Deposed extends Error {}

/** What the key holds. */
type Entry = {
	/** Counts the lives of the server. */
	readonly epoch: number;
	/** Of the life that has it. */
	readonly token: string;
	readonly host: string;
	readonly pid: number;
	readonly leaseMs: number;
	/** Given back: the next one need not wait. */
	readonly isReleased: boolean;
	/** The server has ended: there is nothing to take over. */
	readonly isOver: boolean;
	/** The newest checkpoint, and the one before. */
	readonly saved: readonly SavedAt[];
};

export type LeaseOptions = {
	readonly streams: RunStreams;
	/** The server. */
	readonly id: string;
	/** Without a word for so long it is free; it is renewed every third of that. */
	readonly leaseMs: number;
	/** Called once while another has it. */
	readonly onWaiting?: (holder: string) => void;
	/** Called when another has taken it. */
	readonly onLost: (reason: string) => void;
	/** Ends the wait. */
	readonly signal?: AbortSignal | undefined;
};

const checksInLease = 4;
const renewalsInLease = 3;
const retryMs = 200;

export class Lease {
	readonly #options: LeaseOptions;
	#entry: Entry;
	#revision: number;
	#changes: Promise<void> = Promise.resolve();
	#timer: NodeJS.Timeout | undefined;
	#lost: string | undefined;

	private constructor(options: LeaseOptions, entry: Entry, revision: number) {
		this.#options = options;
		this.#entry = entry;
		this.#revision = revision;
		this.#timer = setInterval(() => this.#renew(), options.leaseMs / renewalsInLease);
		this.#timer.unref();
	}

	/** Waits until it is free and takes it; nothing when the server has ended or the wait was ended. */
	static async take(options: LeaseOptions): Promise<Lease | undefined> {
		const {signal, streams} = options;
		const wait: Wait = {};
		while (!signal?.aborted) {
			try {
				const taken = await Lease.#try(options, wait);
				if (taken !== 'not yet') return taken;
			} catch (error) {
				// A broker that is away for a while says nothing about the lease.
				if (streams.bus.connection.isClosed()) throw error;
				await sleep(retryMs);
			}
		}
		return undefined;
	}

	/** What became of a write without an answer is read: it may have been taken. */
	static async #try(options: LeaseOptions, wait: Wait): Promise<Lease | 'not yet' | undefined> {
		const {streams, id, leaseMs} = options;
		const found = await read(streams, id);
		const before = found && entryOf(found);
		if (wait.asked && before?.token === wait.asked.token) return new Lease(options, wait.asked, found!.revision);
		if (before?.isOver) return undefined;
		if (found && wait.seen?.revision !== found.revision)
			wait.seen = {revision: found.revision, atMs: performance.now()};
		if (!before || isFree(before, performance.now() - wait.seen!.atMs)) {
			wait.asked = nextLife(before, leaseMs);
			const revision = await put(streams, id, wait.asked, found?.revision);
			return revision === undefined ? 'not yet' : new Lease(options, wait.asked, revision);
		}
		if (!wait.hasTold) options.onWaiting?.(`process ${before.pid} on ${before.host}`);
		wait.hasTold = true;
		await sleep(Math.max(20, before.leaseMs / checksInLease));
		return 'not yet';
	}

	/** Which life of the server this is, from 0. */
	get epoch(): number {
		return this.#entry.epoch;
	}

	/** The checkpoints of the life before, the newest first. */
	get saved(): readonly SavedAt[] {
		return this.#entry.saved;
	}

	/** Makes a checkpoint the newest. Throws `Deposed` when another acts. */
	commit(saved: SavedAt): Promise<void> {
		return this.#change(entry => ({...entry, saved: [saved, ...entry.saved.slice(0, 1)]}));
	}

	/** Gives it back; with `isOver` nobody takes it again. */
	async release({isOver}: {readonly isOver: boolean}): Promise<void> {
		clearInterval(this.#timer);
		if (this.#lost === undefined)
			await this.#change(entry => ({...entry, isReleased: true, isOver})).catch(() => undefined);
		this.#lost ??= 'it was given back';
	}

	/** Stops renewing, as if the process were gone. */
	abandon(): void {
		clearInterval(this.#timer);
		this.#lost ??= 'it was abandoned';
	}

	#renew(): void {
		void this.#change(entry => entry).catch(() => undefined);
	}

	/** One change at a time, each on top of the last. */
	#change(changed: (entry: Entry) => Entry): Promise<void> {
		const change = this.#changes.then(() => this.#write(changed(this.#entry)));
		this.#changes = change.catch(() => undefined);
		return change;
	}

	/** Until the broker has taken it, or another has; what became of a write without an answer is read. */
	async #write(entry: Entry): Promise<void> {
		const {streams, id} = this.#options;
		const numbered = {...entry, token: `${entry.token.split('#')[0]}#${this.#revision}`};
		for (;;) {
			if (this.#lost !== undefined) throw new Deposed(this.#lost);
			const revision = await put(streams, id, numbered, this.#revision).catch(() => null);
			if (revision) {
				this.#revision = revision;
				this.#entry = numbered;
				return;
			}
			const found = await read(streams, id).catch(() => null);
			const current = found && entryOf(found);
			if (current?.token === numbered.token) {
				this.#revision = found!.revision;
				this.#entry = numbered;
				return;
			}
			if (current && current.token !== this.#entry.token) this.#lose(current);
			else if (found === undefined) this.#lose(undefined);
			else await sleep(retryMs);
		}
	}

	#lose(by: Entry | undefined): void {
		clearInterval(this.#timer);
		this.#lost = by
			? `process ${by.pid} on ${by.host} has taken its place (life ${by.epoch}, this was ${this.epoch})`
			: 'the run is no longer at the broker';
		this.#options.onLost(this.#lost);
	}
}

/** What is known while a lease is waited for. */
type Wait = {
	seen?: {readonly revision: number; readonly atMs: number};
	/** What was last written, of which the answer may have been lost. */
	asked?: Entry;
	hasTold?: boolean;
};

const nextLife = (before: Entry | undefined, leaseMs: number): Entry => ({
	epoch: before ? before.epoch + 1 : 0,
	token: randomUUID(),
	host: hostname(),
	pid: process.pid,
	leaseMs,
	isReleased: false,
	isOver: false,
	saved: before?.saved ?? [],
});

/** Given back, silent for its length, or of a process of this machine that is no more. */
function isFree({isReleased, leaseMs, host, pid}: Entry, silentMs: number): boolean {
	return isReleased || silentMs >= leaseMs || (host === hostname() && !isAlive(pid));
}

const entryOf = (found: KvEntry): Entry => JSON.parse(found.string()) as Entry;

/** The key as it is; nothing when it was never written. */
async function read({leases}: RunStreams, id: string): Promise<KvEntry | undefined> {
	return (await leases.get(id)) ?? undefined;
}

/** The new revision; nothing when somebody else was first. Throws when it is not known. */
async function put({leases}: RunStreams, id: string, entry: Entry, revision?: number): Promise<number | undefined> {
	const bytes = new TextEncoder().encode(JSON.stringify(entry));
	try {
		return await (revision === undefined ? leases.create(id, bytes) : leases.update(id, bytes, revision));
	} catch (error) {
		if (isSequenceProblem(error)) return undefined;
		throw error;
	}
}

/** The broker's word that the key has another revision. */
const isSequenceProblem = (error: unknown): boolean =>
	error instanceof NatsError && (error.api_error?.err_code === 10_071 || /wrong last sequence/i.test(errorText(error)));
