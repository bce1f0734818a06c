/**
Reads a stream of a broker in order from a place on, each message once, whatever becomes of the connection: what is missed is asked
for again. The library's own ordered consumer does not end with its connection.
*/
import {AckPolicy, createInbox, DeliverPolicy, type Msg, nanos, type Subscription} from 'nats';
import {Inbox} from './inbox.ts';
import type {RunStreams} from './run-streams.ts';

export type StreamReaderOptions = {
	readonly streams: RunStreams;
	readonly stream: string;
	/** Subjects of which no two may overlap. */
	readonly filters: readonly string[];
	/** The last message that is known. */
	readonly after: number;
	readonly deliver: (message: Msg, sequence: number) => void;
};

/** The broker gives a sign of life this often where it has no message. */
const aliveMs = 500;
/** Without one for so long the reader begins again behind what it has. */
const silenceMs = 2000;
/** How long the broker keeps the place of a reader that is gone, ms. */
const keptMs = 30_000;

export class StreamReader {
	readonly #options: StreamReaderOptions;
	readonly #inbox: Inbox<{readonly message: Msg; readonly sequence: number}>;
	#subscription: Subscription | undefined;
	/** The last message taken from the connection, and the reader's own count of messages. */
	#last: number;
	#count = 0;
	#heardAtMs = 0;
	#isAsking = false;
	#timer: NodeJS.Timeout | undefined;
	#isStopped = false;

	constructor(options: StreamReaderOptions) {
		this.#options = options;
		this.#last = options.after;
		this.#inbox = new Inbox(({message, sequence}) => {
			if (!this.#isStopped) options.deliver(message, sequence);
		});
	}

	/** Resolves when the broker has begun. Rejects when it does not answer at first. */
	async start(): Promise<void> {
		await this.#ask();
		this.#timer = setInterval(() => this.#watch(), aliveMs);
		this.#timer.unref();
	}

	stop(): void {
		this.#isStopped = true;
		clearInterval(this.#timer);
		this.#inbox.clear();
		this.#drop();
	}

	#drop(): void {
		if (!this.#options.streams.bus.connection.isClosed()) this.#subscription?.unsubscribe();
		this.#subscription = undefined;
	}

	async #ask(): Promise<void> {
		const {streams, stream, filters} = this.#options;
		this.#isAsking = true;
		this.#drop();
		const to = createInbox();
		this.#count = 0;
		this.#heardAtMs = performance.now();
		this.#subscription = streams.bus.connection.subscribe(to, {
			callback: (error, message) => {
				if (!error && !this.#isStopped) this.#take(message, to);
			},
		});
		try {
			await streams.manager.consumers.add(stream, {
				deliver_subject: to,
				ack_policy: AckPolicy.None,
				deliver_policy: DeliverPolicy.StartSequence,
				opt_start_seq: this.#last + 1,
				filter_subjects: [...filters],
				idle_heartbeat: nanos(aliveMs),
				flow_control: true,
				inactive_threshold: nanos(keptMs),
				mem_storage: true,
				num_replicas: 1,
			});
		} finally {
			this.#isAsking = false;
		}
	}

	#watch(): void {
		const {bus} = this.#options.streams;
		if (this.#isAsking || this.#isStopped || !bus.isConnected || bus.connection.isClosed()) return;
		// One that does not answer is asked again at the next silence.
		if (performance.now() - this.#heardAtMs > silenceMs) this.#again();
	}

	#again(): void {
		if (!this.#isAsking && !this.#isStopped) void this.#ask().catch(() => undefined);
	}

	#take(message: Msg, to: string): void {
		if (message.subject === to && message.headers?.code === 100) this.#takeSign(message);
		const at = placeOf(message.reply ?? '');
		if (!at) return;
		this.#heardAtMs = performance.now();
		if (at.count !== this.#count + 1) {
			this.#again();
			return;
		}
		this.#count = at.count;
		if (at.sequence <= this.#last) return;
		this.#last = at.sequence;
		this.#inbox.push({message, sequence: at.sequence});
	}

	/** The broker lives, and wants to know whether this reader does. */
	#takeSign(message: Msg): void {
		this.#heardAtMs = performance.now();
		if (message.reply) message.respond();
		const count = message.headers?.get('Nats-Last-Consumer');
		if (count && Number(count) !== this.#count) this.#again();
	}
}

/** `$JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<count>.<time>.<pending>`, with domain and account before the stream in newer servers. */
function placeOf(reply: string): {readonly sequence: number; readonly count: number} | undefined {
	const tokens = reply.split('.');
	if (tokens[0] !== '$JS' || tokens[1] !== 'ACK' || tokens.length < 9) return undefined;
	const from = tokens.length === 9 ? 5 : 7;
	return {sequence: Number(tokens[from]), count: Number(tokens[from + 1])};
}
