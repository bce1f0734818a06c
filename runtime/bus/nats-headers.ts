/**
Headers to and from NATS. The block of headers is padded to a multiple of 8 bytes: the client joins a long message into one
buffer that begins with the block, so the body behind it, and the tensors inside, can be viewed without a copy.
*/
import {headers, type Msg, type MsgHdrs} from 'nats';
import type {Frame} from '../../protocols/ports.ts';

const padName = 'Pad';

/** Bytes of a message that headers may take; the rest of `max_payload` is the body's. */
export const headerRoomBytes = 2048;

/** NATS headers of a frame. */
export function natsHeadersOf(frame: Frame): MsgHdrs {
	const block = headers();
	let length = 'NATS/1.0\r\n\r\n'.length + '\r\n: '.length + padName.length;
	for (const name in frame.headers) {
		const value = frame.headers[name]!;
		block.append(name, value);
		length += '\r\n: '.length + name.length + value.length;
	}
	block.append(padName, '-'.repeat((8 - (length % 8)) % 8));
	return block;
}

/** The frame of a message; its body is a view of what the client received. */
export function frameOf(message: Msg): Frame {
	const read: Record<string, string> = {};
	for (const [name, values] of message.headers ?? []) {
		if (name !== padName) read[name] = values[0] ?? '';
	}
	return {subject: message.subject, headers: read, body: message.data};
}
