/**
The bus of a durable run: what is published is kept by the broker before `flush` resolves, and each actor reads from a place that
its checkpoint knows, so that nothing said while it was away is lost. Signs of life are not kept.
*/
import type {Msg} from 'nats';
import {headerNames} from '../../protocols/envelope.ts';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import type {Bus, Frame, Unsubscribe} from '../../protocols/ports.ts';
import {parseSubject, patternOf, subjectMatches} from '../../protocols/subjects.ts';
import {chunked} from './chunked.ts';
import {keepIn} from './keep.ts';
import {frameOf} from './nats-headers.ts';
import type {BusProblem} from './problems.ts';
import {isKept, type RunStreams, trainingStreamOf} from './run-streams.ts';
import {StreamReader} from './stream-reader.ts';

export type DurableOptions = {
	readonly streams: RunStreams;
	/** The actor that reads. */
	readonly id: string;
	/** The last message of the stream that a former life has taken; default 0, none. */
	readonly position?: number;
	readonly onProblem: BusProblem;
};

/** A bus that knows how far it has been read. */
export interface DurableBus extends Bus {
	/** Everything up to here has been delivered: a later life may begin behind it. */
	readonly position: number;
	/** What lies before this place was for this actor alone and is not needed any more. */
	forget(position: number): Promise<void>;
}

type Subscriber = {readonly pattern: string; readonly deliver: (frame: Frame) => void};

/** Unfinished frames that hold the place back. */
const unfinishedMax = 256;
const forgottenBytes = 16 << 20;

export function openDurableBus(options: DurableOptions): DurableBus {
	return new Durable(options);
}

class Durable implements DurableBus {
	readonly #options: DurableOptions;
	readonly #whole: Bus;
	readonly #sending = new Set<Promise<void>>();
	#subscribers: Subscriber[] = [];
	/** The stream's number of the last message delivered. */
	#last: number;
	/** Frames of which not all chunks came, by message id: the number of the first. */
	readonly #unfinished = new Map<string, number>();
	#reader: StreamReader | undefined;
	#isClosed = false;
	#bytesRead = 0;

	constructor(options: DurableOptions) {
		this.#options = options;
		this.#last = options.position ?? 0;
		const {bus} = options.streams;
		const link: Bus = {
			get maxPayloadBytes() {
				return bus.wireLimitBytes;
			},
			publish: frame => this.#send(frame),
			subscribe: (pattern, deliver) => this.#subscribe(pattern, deliver),
			flush: () => bus.flush(),
			close: () => Promise.resolve(),
		};
		this.#whole = chunked(link, {onProblem: options.onProblem});
	}

	get maxPayloadBytes(): number {
		return this.#whole.maxPayloadBytes;
	}

	get position(): number {
		const [first = Number.POSITIVE_INFINITY] = this.#unfinished.values();
		return Math.min(this.#last, first - 1);
	}

	publish(frame: Frame): void {
		if (isKept(parseSubject(frame.subject)?.verb ?? '')) this.#whole.publish(frame);
		else this.#options.streams.bus.publish(frame);
	}

	subscribe(pattern: string, deliver: (frame: Frame) => void): Unsubscribe {
		const {run, bus} = this.#options.streams;
		const kept = this.#whole.subscribe(pattern, frame => {
			this.#unfinished.delete(frame.headers[headerNames.messageId] ?? '');
			deliver(frame);
		});
		const isToOne = pattern.endsWith(`.${this.#options.id}`);
		const kind = parseSubject(pattern.replaceAll('*', 'x'))?.kind;
		if (!isToOne || kind === undefined) return kept;
		const life = bus.subscribe(patternOf({run, kind, verb: 'heartbeat', to: this.#options.id}), deliver);
		return () => {
			kept();
			life();
		};
	}

	/** Resolves when all that was published is kept and everything subscribed to is read. */
	async flush(): Promise<void> {
		await this.#options.streams.bus.flush();
		if (this.#subscribers.length > 0 && !this.#reader && !this.#isClosed) await this.#read();
		while (this.#sending.size > 0) await Promise.all(this.#sending);
	}

	async forget(position: number): Promise<void> {
		const {manager, run} = this.#options.streams;
		if (this.#bytesRead < forgottenBytes || position <= 0) return;
		this.#bytesRead = 0;
		const filter = `cutlayer.v1.${run}.*.*.*.${this.#options.id}`;
		await manager.streams.purge(trainingStreamOf(run), {filter, seq: position + 1});
	}

	async close(): Promise<void> {
		if (this.#isClosed) return;
		const {bus} = this.#options.streams;
		if (bus.isConnected) await Promise.race([Promise.all(this.#sending), bus.connection.closed()]);
		this.#isClosed = true;
		this.#reader?.stop();
		await bus.close();
	}

	#subscribe(pattern: string, deliver: (frame: Frame) => void): Unsubscribe {
		const subscriber = {pattern, deliver};
		this.#subscribers.push(subscriber);
		return () => {
			this.#subscribers = this.#subscribers.filter(other => other !== subscriber);
		};
	}

	#send(frame: Frame): void {
		const sending = this.#keep(frame).finally(() => this.#sending.delete(sending));
		this.#sending.add(sending);
	}

	/** Says it until the broker has kept it: it knows a message by its id. */
	async #keep(frame: Frame): Promise<void> {
		const {streams} = this.#options;
		try {
			await keepIn(streams, frame, {isRefused});
		} catch (error) {
			if (this.#isClosed || streams.bus.connection.isClosed()) return;
			this.#report(`The broker keeps no message ${frame.subject}`, error);
		}
	}

	async #read(): Promise<void> {
		const {streams} = this.#options;
		this.#reader = new StreamReader({
			streams,
			stream: trainingStreamOf(streams.run),
			filters: this.#subscribers.map(({pattern}) => pattern),
			after: this.#last,
			deliver: (message, sequence) => this.#deliver(message, sequence),
		});
		await this.#reader.start();
	}

	#deliver(message: Msg, seq: number): void {
		const {subject, data} = message;
		const frame = frameOf(message);
		// What follows from it may be saved before `deliver` returns.
		this.#last = seq;
		this.#bytesRead += data.byteLength;
		const whole = frame.headers[headerNames.chunkOf];
		if (whole !== undefined && !this.#unfinished.has(whole)) this.#remember(whole, seq);
		for (const {pattern, deliver} of this.#subscribers) if (subjectMatches(pattern, subject)) deliver(frame);
	}

	#remember(whole: string, first: number): void {
		this.#unfinished.set(whole, first);
		if (this.#unfinished.size > unfinishedMax) this.#unfinished.delete(this.#unfinished.keys().next().value!);
	}

	#report(what: string, error: unknown): void {
		const fix = 'look at the log of the broker, and start this actor again';
		this.#options.onProblem(new CutlayerError('broker-limit', `${what}: ${errorText(error)}; ${fix}`));
	}
}

/** The broker's word that it will not, now or later. */
const isRefused = (error: unknown): boolean => /permission|maximum message size|MAX_PAYLOAD/i.test(errorText(error));
