/**
A frame as its receivers take it in: decoded and checked against its verb's schema and route, a broadcast once for all of them.
It never throws on bad input.
*/
import {messageProblem} from './check-message.ts';
import {type Decoded, decodeFrame} from './codec.ts';
import {isFiniteTensor} from './finite.ts';
import type {Frame} from './ports.ts';
import {SealedFrame} from './sealed-frame.ts';

/** Broadcasts by frame: on a bus inside the process all receivers get the same one. */
const broadcasts = new WeakMap<Frame, Decoded>();

/**
What a frame says, or why it is refused. Receivers of a broadcast in this process share what it says: its plain values are frozen,
its tensors may only be read, as those of every frame.
*/
export function receiveFrame(frame: Frame): Decoded {
	const known = broadcasts.get(frame);
	if (known) return known;
	const received = checked(contentIn(frame) ?? decodeFrame(frame));
	if (!received.ok || received.envelope.subject.to !== undefined) return received;
	freeze(received.body);
	broadcasts.set(frame, received);
	return received;
}

/** What a frame that is not in bytes says; what may not be received is put into bytes and refused as any other. */
function contentIn(frame: Frame): Decoded | undefined {
	if (!(frame instanceof SealedFrame) || !frame.content.tensors.every(isFiniteTensor)) return undefined;
	return {ok: true, envelope: frame.envelope, body: frame.content.body};
}

function checked(decoded: Decoded): Decoded {
	if (!decoded.ok) return decoded;
	const problem = messageProblem(decoded.envelope.subject, decoded.body);
	return problem ? {ok: false, problem} : decoded;
}

/** All but the bytes of tensors, which JavaScript cannot freeze. */
function freeze(value: unknown): void {
	if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return;
	Object.freeze(value);
	for (const inner of Object.values(value)) freeze(inner);
}
