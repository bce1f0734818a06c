/**
A bus in virtual time. A frame goes up its sender's link, then down each receiver's; a link carries one frame after another in
order, as one connection does, so it is never used beyond its bandwidth. Bytes are those of the frame's body as encoded.

Reports and a main server's adapters for evaluators are measurement: they are handed over at once and occupy no link.
*/
import {CutlayerError} from '../../protocols/errors.ts';
import type {Bus, Frame, Unsubscribe} from '../../protocols/ports.ts';
import {frameBytes, frameId} from '../../protocols/sealed-frame.ts';
import {parseSubject} from '../../protocols/subjects.ts';
import type {Device} from './devices.ts';
import type {FrameFate} from './frame-fate.ts';
import {type Route, Routes, type Subscription} from './routes.ts';
import type {SimTime} from './time.ts';

export type NetworkOptions = {
	readonly time: SimTime;
	/** The machine an actor runs on; without one it is an onlooker without a link. */
	readonly deviceOf: (actor: string) => Device | undefined;
	readonly fate: FrameFate;
	readonly maxPayloadBytes?: number;
};

type Peer = {readonly place: number; readonly id: string; upFreeMs: number; downFreeMs: number};

const measurements = new Set(['report', 'server-adapter']);

/** Milliseconds that a number of bytes takes on a link. */
export const transferMs = (bytes: number, mbps: number): number => (bytes * 8) / (mbps * 1000);

export class SimNetwork {
	readonly #options: NetworkOptions;
	readonly #routes = new Routes<Peer>();
	#connected = 0;
	#delivered = 0;
	#longestMs = 0;
	#lost = 0;
	#reports = 0;

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

	/** Steps, rounds and evaluations that were told of: a run in which none comes makes no progress. */
	get reports(): number {
		return this.#reports;
	}

	/** Frames that faults swallowed. */
	get lost(): number {
		return this.#lost;
	}

	/** The connection of an actor, or of an onlooker such as a recorder. */
	connect(id: string): Bus {
		const peer: Peer = {place: this.#connected++, id, upFreeMs: 0, downFreeMs: 0};
		const subscriptions = new Set<Subscription<Peer>>();
		let isClosed = false;
		const maxPayloadBytes = this.#options.maxPayloadBytes ?? 2 ** 30;
		return {
			maxPayloadBytes,
			publish: frame => {
				if (isClosed) return;
				if (frameBytes(frame) > maxPayloadBytes) throw tooLarge(frame, maxPayloadBytes);
				this.#send(peer, frame);
			},
			subscribe: (pattern, deliver): Unsubscribe => {
				const subscription = {peer, pattern, deliver, isActive: true};
				subscriptions.add(subscription);
				this.#routes.add(subscription);
				return () => {
					subscriptions.delete(subscription);
					this.#routes.remove(subscription);
				};
			},
			flush: () => Promise.resolve(),
			close: () => {
				isClosed = true;
				for (const subscription of subscriptions) this.#routes.remove(subscription);
				subscriptions.clear();
				return Promise.resolve();
			},
		};
	}

	#send(sender: Peer, frame: Frame): void {
		const {time, deviceOf} = this.#options;
		const verb = parseSubject(frame.subject)?.verb ?? '';
		if (verb === 'report') this.#reports++;
		const device = deviceOf(sender.id);
		const actors: Route<Peer>[] = [];
		for (const route of this.#routes.find(frame.subject)) {
			if (route.peer === sender) continue;
			if (deviceOf(route.peer.id)) actors.push(route);
			else this.#handOver(route, frame);
		}
		if (actors.length === 0) return;
		if (!device || measurements.has(verb)) {
			for (const route of actors) time.at(time.nowMs, route.peer.id, () => this.#handOver(route, frame));
			return;
		}
		sender.upFreeMs = Math.max(sender.upFreeMs, time.nowMs) + transferMs(frameBytes(frame), device.upMbps);
		this.#longestMs = Math.max(this.#longestMs, sender.upFreeMs - time.nowMs);
		const atBroker = sender.upFreeMs + device.latencyMs;
		time.hop(atBroker, sender.id, () => this.#atBroker(sender, actors, frame));
	}

	/** While the broker is away its senders hold frames back. */
	#atBroker(sender: Peer, receivers: readonly Route<Peer>[], frame: Frame): void {
		const {time, fate} = this.#options;
		const backMs = fate.brokerAtMs(time.nowMs);
		if (backMs > time.nowMs) time.hop(backMs, sender.id, () => this.#atBroker(sender, receivers, frame));
		else for (const route of receivers) this.#forward(sender, route, frame);
	}

	/** From the broker down to one receiver. */
	#forward(sender: Peer, route: Route<Peer>, frame: Frame): void {
		const receiver = route.peer;
		const {time, deviceOf, fate} = this.#options;
		const {downMbps, latencyMs} = deviceOf(receiver.id)!;
		const messageId = frameId(frame);
		const passage = {messageId, sender: sender.id, receiver: receiver.id, atMs: time.nowMs};
		const copies = fate.copies(passage);
		if (copies === 0) this.#lost++;
		for (let copy = 0; copy < copies; copy++) {
			receiver.downFreeMs = Math.max(receiver.downFreeMs, time.nowMs) + transferMs(frameBytes(frame), downMbps);
			this.#longestMs = Math.max(this.#longestMs, receiver.downFreeMs - time.nowMs);
			const arrivalMs = fate.arrivalMs(passage, receiver.downFreeMs + latencyMs);
			if (fate.isBrokerLost(time.nowMs, arrivalMs)) this.#lost++;
			else time.at(arrivalMs, receiver.id, () => this.#handOver(route, fate.altered(frame, passage)));
		}
	}

	#handOver({subscriptions}: Route<Peer>, frame: Frame): void {
		for (const {isActive, deliver} of subscriptions) {
			if (!isActive) continue;
			this.#delivered++;
			deliver(frame);
		}
	}
}

const tooLarge = (frame: Frame, bytesMax: number) =>
	new CutlayerError(
		'broker-limit',
		`The frame ${frame.subject} has ${frameBytes(frame)} bytes, the simulated bus takes ${bytesMax}; send smaller batches`,
	);
