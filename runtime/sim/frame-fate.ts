/**
What becomes of a frame on its way in a simulated run: lost, doubled, late, damaged, held back. Pure: each draw has a stream
keyed by the frame and its receiver, so that one more frame changes nobody else's. Times are virtual milliseconds.
*/
import type {Fault} from '../../protocols/faults.ts';
import type {Frame} from '../../protocols/ports.ts';
import {randomStream} from '../random.ts';

/** A frame on its way from the broker to one receiver. */
export type Passage = {
	readonly messageId: string;
	readonly sender: string;
	readonly receiver: string;
	/** When it is at the broker. */
	readonly atMs: number;
};

type Rated = Extract<Fault, {kind: 'loss' | 'duplication' | 'reordering' | 'corruption'}>;

/** From an instant on, and for how long at the most. */
const isDuring = ({fromMs, toMs}: {readonly fromMs: number; readonly toMs?: number | undefined}, atMs: number) =>
	fromMs <= atMs && atMs < (toMs ?? Number.POSITIVE_INFINITY);

export class FrameFate {
	readonly #faults: readonly Fault[];
	readonly #seed: number;

	/** `faults` may change under way: those that are there when a frame passes count. */
	constructor(faults: readonly Fault[], seed: number) {
		this.#faults = faults;
		this.#seed = seed;
	}

	/** How many copies of a frame arrive: 0 lost, 2 doubled. */
	copies(passage: Passage): number {
		if (this.#faults.length === 0) return 1;
		const {sender, receiver, atMs} = passage;
		if (this.#isCut(sender, atMs) || this.#isCut(receiver, atMs)) return 0;
		if (this.#isDrawn('loss', passage)) return 0;
		return this.#isDrawn('duplication', passage) ? 2 : 1;
	}

	/** When a frame that would arrive at `arrivalMs` does: later when it is overtaken, or when a link stands still. */
	arrivalMs(passage: Passage, arrivalMs: number): number {
		if (this.#faults.length === 0) return arrivalMs;
		const [fault] = this.#rated('reordering', passage);
		const delayMs = (fault as {delayMs?: number} | undefined)?.delayMs ?? 0;
		const isLate = delayMs > 0 && this.#isDrawn('reordering', passage);
		const late = isLate ? arrivalMs + delayMs * this.#draw('delay', passage) : arrivalMs;
		return this.#faults.reduce((at, fault) => {
			const isHeld = fault.kind === 'clog' && isAmong(fault.clients, passage) && isDuring(fault, at);
			return isHeld ? fault.toMs : at;
		}, late);
	}

	/** The frame as it arrives: whole, or cut to half its length. */
	altered(frame: Frame, passage: Passage): Frame {
		if (this.#faults.length === 0 || !this.#isDrawn('corruption', passage)) return frame;
		const {subject, headers, body} = frame;
		return {subject, headers, body: body.subarray(0, body.byteLength >> 1)};
	}

	/** When the broker that is asked at an instant answers: then, or when it is back. */
	brokerAtMs(atMs: number): number {
		return this.#faults.reduce(
			(at, fault) =>
				fault.kind === 'broker-restart' && fault.atMs <= at && at < fault.atMs + fault.awayMs
					? fault.atMs + fault.awayMs
					: at,
			atMs,
		);
	}

	/** Whether the broker goes away while a frame is on its way from it: the frame is lost then. */
	isBrokerLost(fromMs: number, toMs: number): boolean {
		return this.#faults.some(fault => fault.kind === 'broker-restart' && fromMs < fault.atMs && fault.atMs <= toMs);
	}

	#isCut(actor: string, atMs: number): boolean {
		return this.#faults.some(
			fault => fault.kind === 'partition' && fault.clients.includes(actor) && isDuring(fault, atMs),
		);
	}

	#rated(kind: Rated['kind'], {sender, receiver, atMs}: Passage): Rated[] {
		return this.#faults.filter(
			(fault): fault is Rated =>
				fault.kind === kind &&
				(fault.client === undefined || fault.client === sender || fault.client === receiver) &&
				isDuring(fault, atMs),
		);
	}

	#isDrawn(kind: Rated['kind'], passage: Passage): boolean {
		const rated = this.#rated(kind, passage);
		if (rated.length === 0) return false;
		const kept = rated.reduce((all, {rate}) => all * (1 - rate), 1);
		return this.#draw(kind, passage) >= kept;
	}

	#draw(purpose: string, {messageId, receiver}: Passage): number {
		return randomStream(this.#seed, purpose, messageId, receiver).float();
	}
}

const isAmong = (clients: readonly string[], {sender, receiver}: Passage) =>
	clients.includes(sender) || clients.includes(receiver);
