/**
The point of a simulated run from which it goes otherwise, and what becomes of messages then. It moves nothing itself.
*/
import {headerNames} from '../../protocols/envelope.ts';
import type {Bus, Frame} from '../../protocols/ports.ts';
import {parseSubject} from '../../protocols/subjects.ts';
import type {Change, WhatIf} from '../../protocols/what-if.ts';
import type {SimTime} from './time.ts';

type OnMessage = Extract<Change, {kind: 'drop' | 'delay'}>;
type Armed = {readonly change: OnMessage; left: number};

export class ChangePoint {
	readonly changes: readonly Change[];
	readonly #at: number;
	readonly #armed: Armed[];
	#listeners: (() => void)[] = [];
	#isReached = false;

	constructor({at, changes}: WhatIf) {
		this.#at = at;
		this.changes = changes;
		this.#armed = changes.flatMap(change =>
			change.kind === 'drop' || change.kind === 'delay' ? [{change, left: change.times}] : [],
		);
	}

	get isReached(): boolean {
		return this.#isReached;
	}

	/** Changes of messages that no message has met so far. */
	get unmet(): readonly Change[] {
		return this.#armed.filter(({change, left}) => left === change.times).map(({change}) => change);
	}

	/** Calls `listener` once, in the middle of whatever made the record before the point: it should only ask for events. */
	onReached(listener: () => void): void {
		this.#listeners.push(listener);
	}

	/** Told of each record of the trace: the point is reached when the record before it is there. */
	recorded(n: number): void {
		if (this.#isReached || n < this.#at - 1) return;
		this.#isReached = true;
		for (const listener of this.#listeners.splice(0)) listener();
	}

	/** What becomes of a message as it arrives: it does not, it does so much later, or nothing. Counts what it answers. */
	fateOf(frame: Frame, receiver: string): 'dropped' | number {
		if (!this.#isReached) return 0;
		const found = this.#armed.find(({change, left}) => left > 0 && isMet(change.message, frame, receiver));
		if (!found) return 0;
		found.left--;
		return found.change.kind === 'drop' ? 'dropped' : found.change.ms;
	}
}

/** `pattern` is a message id, or a verb with its sender and receiver as far as they are named. */
function isMet(pattern: string, {subject, headers}: Frame, receiver: string): boolean {
	if (pattern.includes(':')) return headers[headerNames.messageId] === pattern;
	const parsed = parseSubject(subject);
	const [verb, from = parsed?.id, to = receiver] = pattern.split('/');
	return parsed?.verb === verb && parsed?.id === from && receiver === to;
}

/** A connection on which messages meet the point's changes as they are delivered. */
export const changedBus = (bus: Bus, id: string, point: ChangePoint, time: SimTime): Bus => ({
	get maxPayloadBytes() {
		return bus.maxPayloadBytes;
	},
	publish: frame => bus.publish(frame),
	subscribe: (pattern, deliver) => {
		let isOpen = true;
		const end = bus.subscribe(pattern, frame => {
			const fate = point.fateOf(frame, id);
			if (fate === 0) deliver(frame);
			else if (fate !== 'dropped') time.at(time.nowMs + fate, id, () => (isOpen ? deliver(frame) : undefined));
		});
		return () => {
			isOpen = false;
			end();
		};
	},
	flush: () => bus.flush(),
	close: () => bus.close(),
});
