/**
Messages that were sent to one actor and have not reached it yet, as a trace tells them. Pure; what was said to all is not here.
*/
import type {TraceRecord} from '../trace/format.ts';
import {commandsOf} from '../trace/trace.ts';

/** A message on its way, and the record that sent it. */
export type Unread = {
	readonly id: string;
	readonly verb: string;
	readonly from: string;
	readonly n: number;
	readonly t: number;
};

/** Lost messages stay for ever: the oldest go when there are too many of one receiver. */
const messagesMax = 1000;

export class UnreadMessages {
	readonly #byReceiver: Map<string, readonly Unread[]>;

	constructor(mark?: ReadonlyMap<string, readonly Unread[]>) {
		this.#byReceiver = new Map(mark);
	}

	mark(): ReadonlyMap<string, readonly Unread[]> {
		return new Map(this.#byReceiver);
	}

	/** The oldest first. */
	of(receiver: string): readonly Unread[] {
		return this.#byReceiver.get(receiver) ?? [];
	}

	take(record: TraceRecord): void {
		if (!('actor' in record)) return;
		const {actor, n, t} = record;
		if (record.kind === 'input' && record.message !== undefined) this.#read(actor, record.message);
		for (const command of commandsOf(record)) {
			if (!('send' in command) || command.to === undefined) continue;
			const message = {id: command.id, verb: command.send, from: actor, n, t};
			this.#byReceiver.set(command.to, [...this.of(command.to).slice(1 - messagesMax), message]);
		}
	}

	#read(receiver: string, id: string): void {
		const waiting = this.of(receiver);
		const left = waiting.filter(message => message.id !== id);
		if (left.length < waiting.length) this.#byReceiver.set(receiver, left);
	}
}
