/**
A broker inside the process with the rules of NATS: the same subjects, limits and orders, and no network.
Frames are handed over without a copy, so a receiver may not write to a body.
*/
import type {Bus, Frame, Unsubscribe} from '../../protocols/ports.ts';
import {frameBytes} from '../../protocols/sealed-frame.ts';
import {subjectMatches} from '../../protocols/subjects.ts';
import {Inbox} from './inbox.ts';
import {type BusProblem, deliverSafely, frameTooLarge, reportTo} from './problems.ts';

/** Options of a memory broker. */
export type MemoryBrokerOptions = {
	/** The largest body of a frame, in bytes; default 16 MiB, as the embedded server. */
	readonly maxPayloadBytes?: number;
	/** Called for exceptions of subscribers; default: a line to stderr. */
	readonly onProblem?: BusProblem;
};

/** A broker of one process. */
export interface MemoryBroker {
	/** A connection of its own: what it publishes stays in order, what it receives too. */
	connect(): Bus;
	/** Resolves when nothing published is undelivered. */
	idle(): Promise<void>;
	/** Frames published and not delivered yet, over all connections. */
	readonly undelivered: number;
}

/** Starts a broker with no connections. */
export function createMemoryBroker(options: MemoryBrokerOptions = {}): MemoryBroker {
	return new Broker(options.maxPayloadBytes ?? 16 * 2 ** 20, options.onProblem ?? reportTo('the memory bus'));
}

type Subscription = {
	readonly pattern: string;
	readonly deliver: (frame: Frame) => void;
	isActive: boolean;
	readonly owner: Connection;
};
type Delivery = {readonly frame: Frame; readonly to: readonly Subscription[]};

/** Subjects whose receivers are remembered; the table is emptied when it is full or a subscription changes. */
const routesMax = 10_000;

class Broker implements MemoryBroker {
	undelivered = 0;
	readonly maxPayloadBytes: number;
	readonly subscriptions = new Set<Subscription>();
	private readonly onProblem: BusProblem;
	private readonly routes = new Map<string, ReadonlyMap<Connection, Subscription[]>>();
	private readonly waiting: (() => void)[] = [];

	constructor(maxPayloadBytes: number, onProblem: BusProblem) {
		this.maxPayloadBytes = maxPayloadBytes;
		this.onProblem = onProblem;
	}

	connect(): Bus {
		return new Connection(this);
	}

	idle(): Promise<void> {
		if (this.undelivered === 0) return Promise.resolve();
		return new Promise(resolve => this.waiting.push(resolve));
	}

	route(frame: Frame): void {
		for (const [connection, to] of this.receiversOf(frame.subject)) {
			connection.inbox.push({frame, to});
			this.undelivered++;
		}
	}

	changed(): void {
		this.routes.clear();
	}

	deliver({frame, to}: Delivery): void {
		for (const {isActive, pattern, deliver} of to) if (isActive) deliverSafely(pattern, deliver, frame, this.onProblem);
		this.settle(1);
	}

	/** Counts what was delivered, or dropped with a closed connection. */
	settle(count: number): void {
		this.undelivered -= count;
		if (this.undelivered > 0) return;
		for (const resolve of this.waiting.splice(0)) resolve();
	}

	private receiversOf(subject: string): ReadonlyMap<Connection, Subscription[]> {
		const known = this.routes.get(subject);
		if (known) return known;
		const receivers = new Map<Connection, Subscription[]>();
		for (const subscription of this.subscriptions) {
			if (!subjectMatches(subscription.pattern, subject)) continue;
			const list = receivers.get(subscription.owner);
			if (list) list.push(subscription);
			else receivers.set(subscription.owner, [subscription]);
		}
		if (this.routes.size >= routesMax) this.routes.clear();
		this.routes.set(subject, receivers);
		return receivers;
	}
}

class Connection implements Bus {
	readonly inbox = new Inbox<Delivery>(delivery => this.broker.deliver(delivery));
	private readonly broker: Broker;
	private readonly own = new Set<Subscription>();
	private isClosed = false;

	constructor(broker: Broker) {
		this.broker = broker;
	}

	get maxPayloadBytes(): number {
		return this.broker.maxPayloadBytes;
	}

	publish(frame: Frame): void {
		if (this.isClosed) throw new Error('A closed bus cannot publish');
		const byteLength = frameBytes(frame);
		if (byteLength > this.maxPayloadBytes) throw frameTooLarge(frame, byteLength, this.maxPayloadBytes);
		this.broker.route(frame);
	}

	subscribe(pattern: string, deliver: (frame: Frame) => void): Unsubscribe {
		if (this.isClosed) throw new Error('A closed bus cannot subscribe');
		const subscription: Subscription = {pattern, deliver, isActive: true, owner: this};
		this.own.add(subscription);
		this.broker.subscriptions.add(subscription);
		this.broker.changed();
		return () => this.end(subscription);
	}

	/** What was published is with the broker at once; waits until it is delivered too. */
	flush(): Promise<void> {
		return this.broker.idle();
	}

	close(): Promise<void> {
		this.isClosed = true;
		for (const subscription of [...this.own]) this.end(subscription);
		this.broker.settle(this.inbox.clear());
		return Promise.resolve();
	}

	private end(subscription: Subscription): void {
		subscription.isActive = false;
		this.own.delete(subscription);
		this.broker.subscriptions.delete(subscription);
		this.broker.changed();
	}
}
