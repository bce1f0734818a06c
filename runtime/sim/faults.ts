/**
What goes wrong in a simulated run, as questions: how slow is this client now, does this frame arrive. Pure; who drops out and
returns is the run's business. Times are virtual milliseconds.
*/
import type {Fault} from '../../protocols/faults.ts';
import {randomStream} from '../random.ts';

/** A window in which a client computes `factor` times slower. */
type Window = {readonly fromMs: number; readonly toMs: number; readonly factor: number};

const isOf = (fault: {readonly client?: string | undefined}, client: string) =>
	fault.client === undefined || fault.client === client;

/**
When work that takes `workMs` at full speed and begins at `startMs` is done: the slowdown at each instant is the product of the
`straggle` windows open then, and a spike adds its delay to the first pass at or after its time.
*/
export function slowedEnd(faults: readonly Fault[], client: string, startMs: number, workMs: number): number {
	const windows = faults.flatMap(fault => (fault.kind === 'straggle' && isOf(fault, client) ? [windowOf(fault)] : []));
	let [at, left] = [startMs, workMs];
	for (;;) {
		const factor = windows.reduce((all, window) => (isOpen(window, at) ? all * window.factor : all), 1);
		const edge = Math.min(...windows.flatMap(({fromMs, toMs}) => [fromMs, toMs]).filter(time => time > at), Infinity);
		if (left * factor <= edge - at) return at + left * factor;
		left -= (edge - at) / factor;
		at = edge;
	}
}

const windowOf = ({fromMs, toMs, factor}: Extract<Fault, {kind: 'straggle'}>): Window => ({
	fromMs,
	toMs: toMs ?? Number.POSITIVE_INFINITY,
	factor,
});

const isOpen = ({fromMs, toMs}: Window, at: number) => fromMs <= at && at < toMs;

/** Draws what becomes of frames, frame by frame, from one stream a link; the same draws for the same frames. */
export class FrameFate {
	readonly #faults: readonly Fault[];
	readonly #seed: number;

	constructor(faults: readonly Fault[], seed: number) {
		this.#faults = faults;
		this.#seed = seed;
	}

	/** How many copies of a frame arrive: 0 lost, 2 duplicated. `messageId` keys the draw; `peers` are sender and receiver. */
	copies(messageId: string, sender: string, receiver: string, atMs: number): number {
		if (this.#isCut(sender, atMs) || this.#isCut(receiver, atMs)) return 0;
		if (this.#drawn('loss', messageId, sender, receiver, atMs)) return 0;
		return this.#drawn('duplication', messageId, sender, receiver, atMs) ? 2 : 1;
	}

	#isCut(actor: string, atMs: number): boolean {
		return this.#faults.some(
			fault => fault.kind === 'partition' && fault.clients.includes(actor) && fault.fromMs <= atMs && atMs < fault.toMs,
		);
	}

	#drawn(kind: 'loss' | 'duplication', messageId: string, sender: string, receiver: string, atMs: number): boolean {
		const rates = this.#faults.flatMap(fault =>
			fault.kind === kind && (isOf(fault, sender) || isOf(fault, receiver)) && isDuring(fault, atMs)
				? [fault.rate]
				: [],
		);
		if (rates.length === 0) return false;
		const kept = rates.reduce((all, rate) => all * (1 - rate), 1);
		return randomStream(this.#seed, kind, messageId, receiver).float() >= kept;
	}
}

const isDuring = ({fromMs, toMs}: {readonly fromMs: number; readonly toMs?: number | undefined}, atMs: number) =>
	fromMs <= atMs && atMs < (toMs ?? Number.POSITIVE_INFINITY);

/** The delays of spikes between two instants, in which a pass began. */
export const spikeMs = (faults: readonly Fault[], client: string, afterMs: number, untilMs: number): number =>
	faults.reduce(
		(sum, fault) =>
			fault.kind === 'spike' && fault.client === client && afterMs < fault.atMs && fault.atMs <= untilMs
				? sum + fault.delayMs
				: sum,
		0,
	);
