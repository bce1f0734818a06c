/**
A bus in virtual time. A frame goes up its sender's link, then down each receiver's; a link carries one frame after another in
order, as one connection does, so it is never used beyond its bandwidth. Bytes are those of the frame's body as encoded.

Reports and a main server's adapters for evaluators are measurement: they are handed over at once and occupy no link.
*/
import {CutlayerError} from '../../protocols/errors.ts';
import type {Bus, Frame, Unsubscribe} from '../../protocols/ports.ts';
import {parseSubject, subjectMatches} from '../../protocols/subjects.ts';
import type {VirtualTime} from './clock.ts';
import type {Device} from './devices.ts';
import type {FrameFate} from './frame-fate.ts';

export type NetworkOptions = {
	readonly time: VirtualTime;
	/** The machine an actor runs on; without one it is an onlooker without a link. */
	readonly deviceOf: (actor: string) => Device | undefined;
	readonly fate: FrameFate;
	readonly maxPayloadBytes?: number;
};

type Subscription = {readonly pattern: string; readonly deliver: (frame: Frame) => void};
type Peer = {readonly id: string; readonly subscriptions: Subscription[]; upFreeMs: number; downFreeMs: number};

const measurements = new Set(['report', 'server-adapter']);

/** Milliseconds that a number of bytes takes on a link. */
export const transferMs = (bytes: number, mbps: number): number => (bytes * 8) / (mbps * 1000);

export class SimNetwork {
	readonly #options: NetworkOptions;
	readonly #peers: Peer[] = [];
	/** Receivers by subject; emptied when a subscription changes. */
	readonly #routes = new Map<string, readonly Peer[]>();
	#delivered = 0;
	#longestMs = 0;
	#lost = 0;

	constructor(options: NetworkOptions) {
		this.#options = options;
	}

	/** Frames handed to a receiver, one for each. */
	get delivered(): number {
		return this.#delivered;
	}

	/** The longest time a frame so far needed on one link with its queue, ms. */
	get longestMs(): number {
		return this.#longestMs;
	}

	/** Frames that faults swallowed. */
	get lost(): number {
		return this.#lost;
	}

	/** The connection of an actor, or of an onlooker such as a recorder. */
	connect(id: string): Bus {
		const peer: Peer = {id, subscriptions: [], upFreeMs: 0, downFreeMs: 0};
		this.#peers.push(peer);
		let isClosed = false;
		const maxPayloadBytes = this.#options.maxPayloadBytes ?? 2 ** 30;
		return {
			maxPayloadBytes,
			publish: frame => {
				if (isClosed) return;
				if (frame.body.byteLength > maxPayloadBytes) throw tooLarge(frame, maxPayloadBytes);
				this.#send(peer, frame);
			},
			subscribe: (pattern, deliver) => this.#subscribe(peer, {pattern, deliver}),
			flush: () => Promise.resolve(),
			close: () => {
				isClosed = true;
				peer.subscriptions.length = 0;
				this.#peers.splice(this.#peers.indexOf(peer), 1);
				this.#routes.clear();
				return Promise.resolve();
			},
		};
	}

	#subscribe(peer: Peer, subscription: Subscription): Unsubscribe {
		peer.subscriptions.push(subscription);
		this.#routes.clear();
		return () => {
			const index = peer.subscriptions.indexOf(subscription);
			if (index >= 0) peer.subscriptions.splice(index, 1);
			this.#routes.clear();
		};
	}

	#send(sender: Peer, frame: Frame): void {
		const {time, deviceOf} = this.#options;
		const verb = parseSubject(frame.subject)?.verb ?? '';
		const device = deviceOf(sender.id);
		const receivers = this.#receivers(frame.subject).filter(peer => peer !== sender);
		const onlookers = receivers.filter(peer => !deviceOf(peer.id));
		for (const peer of onlookers) this.#handOver(peer, frame);
		const actors = receivers.filter(peer => deviceOf(peer.id));
		if (actors.length === 0) return;
		if (!device || measurements.has(verb)) {
			for (const peer of actors) time.at(time.nowMs, peer.id, () => this.#handOver(peer, frame));
			return;
		}
		sender.upFreeMs = Math.max(sender.upFreeMs, time.nowMs) + transferMs(frame.body.byteLength, device.upMbps);
		this.#longestMs = Math.max(this.#longestMs, sender.upFreeMs - time.nowMs);
		const atBroker = sender.upFreeMs + device.latencyMs;
		time.at(atBroker, sender.id, () => this.#atBroker(sender, actors, frame));
	}

	/** While the broker is away its senders hold frames back. */
	#atBroker(sender: Peer, receivers: readonly Peer[], frame: Frame): void {
		const {time, fate} = this.#options;
		const backMs = fate.brokerAtMs(time.nowMs);
		if (backMs > time.nowMs) time.at(backMs, sender.id, () => this.#atBroker(sender, receivers, frame));
		else for (const peer of receivers) this.#forward(sender, peer, frame);
	}

	/** From the broker down to one receiver. */
	#forward(sender: Peer, receiver: Peer, frame: Frame): void {
		const {time, deviceOf, fate} = this.#options;
		const {downMbps, latencyMs} = deviceOf(receiver.id)!;
		const messageId = frame.headers['Nats-Msg-Id'] ?? '';
		const passage = {messageId, sender: sender.id, receiver: receiver.id, atMs: time.nowMs};
		const copies = fate.copies(passage);
		if (copies === 0) this.#lost++;
		for (let copy = 0; copy < copies; copy++) {
			receiver.downFreeMs = Math.max(receiver.downFreeMs, time.nowMs) + transferMs(frame.body.byteLength, downMbps);
			this.#longestMs = Math.max(this.#longestMs, receiver.downFreeMs - time.nowMs);
			const arrivalMs = fate.arrivalMs(passage, receiver.downFreeMs + latencyMs);
			if (fate.isBrokerLost(time.nowMs, arrivalMs)) this.#lost++;
			else time.at(arrivalMs, receiver.id, () => this.#handOver(receiver, fate.altered(frame, passage)));
		}
	}

	#handOver(receiver: Peer, frame: Frame): void {
		for (const {pattern, deliver} of [...receiver.subscriptions]) {
			if (!subjectMatches(pattern, frame.subject)) continue;
			this.#delivered++;
			deliver(frame);
		}
	}

	#receivers(subject: string): readonly Peer[] {
		const known = this.#routes.get(subject);
		if (known) return known;
		const found = this.#peers.filter(({subscriptions}) =>
			subscriptions.some(({pattern}) => subjectMatches(pattern, subject)),
		);
		if (this.#routes.size >= 50_000) this.#routes.clear();
		this.#routes.set(subject, found);
		return found;
	}
}

const tooLarge = ({subject, body}: Frame, bytesMax: number) =>
	new CutlayerError(
		'broker-limit',
		`The frame ${subject} has ${body.byteLength} bytes, the simulated bus takes ${bytesMax}; send smaller batches`,
	);
