/**
A durable actor in a process of its own that is started again when it dies, within limits: the next process goes on from the last
checkpoint. To its run it is one actor that lives longer than its processes.
*/

import {errorText} from '../../protocols/errors.ts';
import type {NamedTensors} from '../../protocols/tensor.ts';
import type {ActorSpec} from '../compute/spec.ts';
import type {Opened} from '../compute/thread.ts';
import {ActorProcess, type Preparation} from './actor-process.ts';
import type {ActorCheckpoint} from './checkpoint.ts';
import type {ActorEvents, ActorKind, ActorRequest, ActorRole, RunningActor} from './running-actor.ts';

type ProcessOptions = ConstructorParameters<typeof ActorProcess>[1];

/** Deaths in a row, without a minute between two of them, after which it is given up. */
const deathsMax = 5;
const forgottenMs = 60_000;

export class LastingProcess implements RunningActor {
	readonly id: string;
	readonly kind: ActorKind;
	readonly #options: ProcessOptions;
	#process: ActorProcess;
	#preparation: Preparation | undefined;
	#request: ActorRequest | undefined;
	#events: ActorEvents | undefined;
	#isStarted = false;
	#isEnding = false;
	#isPaused = false;
	/** The next process is on its way. */
	#revival: Promise<void> | undefined;
	#deathsMs: number[] = [];
	#failure: string | null = null;

	constructor(role: ActorRole, options: ProcessOptions) {
		this.id = role.id;
		this.kind = role.kind;
		this.#options = options;
		this.#process = new ActorProcess(role, options);
	}

	prepare(preparation: Preparation): Promise<Opened> {
		this.#preparation = preparation;
		return this.#process.prepare(preparation);
	}

	async open(request: ActorRequest): Promise<RunningActor> {
		const {events} = request;
		this.#events = events;
		this.#request = {
			...request,
			events: {
				...events,
				changed: () => this.#revival ?? events.changed(),
				done: (failure, isLost) => this.#ended(failure, isLost),
			},
		};
		await this.#process.open(this.#request);
		return this;
	}

	get pid(): number | undefined {
		return this.#process.pid;
	}

	get isQuiet(): boolean {
		return !this.#revival && this.#process.isQuiet;
	}

	get isDone(): boolean {
		return this.#failure !== null || (!this.#revival && this.#process.isDone);
	}

	get failure(): string | null {
		return this.#failure ?? (this.#revival ? null : this.#process.failure);
	}

	get rowsCut(): number {
		return this.#process.rowsCut;
	}

	start(): Promise<void> {
		this.#isStarted = true;
		return this.#process.start();
	}

	pause(): void {
		this.#isPaused = true;
		this.#process.pause();
	}

	resume(): void {
		this.#isPaused = false;
		this.#process.resume();
	}

	finish(): void {
		void this.#settled().then(() => this.#process.finish());
	}

	change(input: Readonly<Record<string, unknown>>): void {
		void this.#settled().then(() => this.#process.change(input));
	}

	slow(delayMs: number): void {
		this.#process.slow(delayMs);
	}

	respec(spec: ActorSpec): void {
		void this.#settled().then(() => this.#process.respec(spec));
	}

	/** Whoever asks for its end does not want it back. */
	kill(): void {
		this.#isEnding = true;
		this.#process.kill();
	}

	async save(options: {readonly isLast: boolean}): Promise<ActorCheckpoint> {
		await this.#settled();
		return this.#process.save(options);
	}

	async readAdapter(): Promise<NamedTensors> {
		await this.#settled();
		return this.#process.readAdapter();
	}

	async stop(): Promise<void> {
		this.#isEnding = true;
		await this.#settled();
		await this.#process.stop();
	}

	async close(): Promise<void> {
		this.#isEnding = true;
		await this.#process.close();
	}

	async #settled(): Promise<void> {
		while (this.#revival) await this.#revival;
	}

	/** One that gave up, or was deposed, stays so: only what its machine never said ends a process before its time. */
	#ended(failure: string | null, isLost: boolean): void {
		if (this.#revival) return;
		const events = this.#events!;
		if (!isLost || failure === null || !this.#process.isGone || !this.#mayLive()) {
			events.done(failure, isLost);
			return;
		}
		this.#options.onNotice(`${this.id}: ${failure}; another is started and goes on from its last checkpoint`);
		this.#revival = this.#revive().then(
			() => this.#revived(null),
			error => this.#revived(errorText(error)),
		);
	}

	/** Counts one more death. */
	#mayLive(): boolean {
		const now = performance.now();
		this.#deathsMs = [...this.#deathsMs.filter(at => now - at < forgottenMs), now];
		return !this.#isEnding && this.#deathsMs.length <= deathsMax;
	}

	/** Until one lives that has begun; it may die on its way too. */
	async #revive(): Promise<void> {
		do {
			await this.#process.close();
			this.#process = new ActorProcess(this, this.#options);
			try {
				await this.#begin(this.#process);
			} catch (error) {
				if (!this.#mayLive()) throw error;
			}
		} while (this.#process.isGone);
	}

	async #begin(process: ActorProcess): Promise<void> {
		await process.prepare(this.#preparation!);
		// What a former part of the run left is behind it by now.
		await process.open({...this.#request!, saved: undefined});
		if (this.#isStarted) await process.start();
		if (this.#isPaused) process.pause();
	}

	#revived(problem: string | null): void {
		this.#revival = undefined;
		const events = this.#events!;
		if (problem !== null) {
			this.#failure = `it could not be started again: ${problem}`;
			events.done(this.#failure, true);
		} else if (this.#process.isDone) events.done(this.#process.failure, false);
		events.changed();
	}
}
