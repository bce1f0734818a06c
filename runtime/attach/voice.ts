/**
Says the messages around a run over a bus, and hears what is said to it. It holds no state of a run.
*/
import {messageProblem} from '../../protocols/check-message.ts';
import {decodeFrame, encodeFrame} from '../../protocols/codec.ts';
import {messageIdOf} from '../../protocols/envelope.ts';
import type {Body, Verb} from '../../protocols/messages.ts';
import type {Bus, Frame} from '../../protocols/ports.ts';
import {type SenderKind, type Subject, subjectOf} from '../../protocols/subjects.ts';

/** Who speaks, and in which life. */
export type Speaker = {readonly kind: SenderKind; readonly id: string; readonly incarnation: number};

/** A message that came whole and may come from its sender. */
export type Heard<V extends Verb> = {readonly subject: Subject; readonly body: Body<V>};

export class Voice {
	readonly bus: Bus;
	readonly #speaker: Speaker;
	#sequence: number;

	/** `sequence` is the number of its first message: a host that speaks for an actor numbers apart from it. */
	constructor(bus: Bus, speaker: Speaker, sequence = 0) {
		this.bus = bus;
		this.#speaker = speaker;
		this.#sequence = sequence;
	}

	say<V extends Verb>(run: string, verb: V, body: Body<V>, to?: string): void {
		const {kind, id, incarnation} = this.#speaker;
		const sequence = this.#sequence++;
		this.bus.publish(
			encodeFrame({
				subject: subjectOf({run, kind, id, verb, ...(to !== undefined && {to})}),
				messageId: messageIdOf({sender: id, incarnation, sequence}),
				sequence,
				body,
			}),
		);
	}
}

/** The message of a frame when it is a good one with this verb. */
export function heard<V extends Verb>(frame: Frame, verb: V): Heard<V> | undefined {
	const decoded = decodeFrame(frame);
	if (!decoded.ok || decoded.envelope.subject.verb !== verb) return undefined;
	const {subject} = decoded.envelope;
	return messageProblem(subject, decoded.body) ? undefined : {subject, body: decoded.body as Body<V>};
}
