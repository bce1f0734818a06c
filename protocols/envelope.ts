/**
What stands around the body of a frame: message ids, headers and the refusal of a bad frame. It reads no body.
*/
import {protocolVersion} from './messages.ts';
import type {Frame} from './ports.ts';
import {isId, parseSubject, type Subject} from './subjects.ts';

/** Who sent a message, in which life of that actor, and its place among that actor's messages. */
export type MessageId = {readonly sender: string; readonly incarnation: number; readonly sequence: number};

/** The headers of a valid frame, parsed. */
export type Envelope = {
	readonly subject: Subject;
	readonly messageId: string;
	/** The life of the sender that sent it; an older one is fenced. */
	readonly incarnation: number;
	/** The place among the messages of this sender and incarnation, from 0. */
	readonly sequence: number;
	/** The message that caused this one. */
	readonly causationId?: string;
	/** Length of the body, in bytes. */
	readonly bytes: number;
};

/** Why a frame was refused, as a literal that programs can branch on. */
export type FrameProblemCode =
	| 'subject-unknown'
	| 'header-invalid'
	| 'version-unknown'
	| 'content-type-unknown'
	| 'too-large'
	| 'too-deep'
	| 'malformed'
	| 'tensor-invalid'
	| 'not-finite'
	| 'chunk-invalid'
	| 'chunk-late'
	| 'invalid-message'
	| 'deposed';

/** A refusal that can be sent back as it is. `field` is a header or a path in the body such as `tensors.loraA`. */
export type FrameProblem = {
	readonly code: FrameProblemCode;
	readonly field: string;
	readonly found: string;
	readonly expected: string;
	readonly fix: string;
};

/** Names of the headers. The broker's de-duplication reads the first. */
export const headerNames = {
	messageId: 'Nats-Msg-Id',
	causationId: 'Cutlayer-Cause',
	version: 'Cutlayer-Version',
	contentType: 'Content-Type',
	sequence: 'Cutlayer-Sequence',
	chunkOf: 'Cutlayer-Chunk-Of',
	chunkIndex: 'Cutlayer-Chunk-Index',
	chunkCount: 'Cutlayer-Chunk-Count',
	chunkTotal: 'Cutlayer-Chunk-Total',
	chunkCrc32: 'Cutlayer-Chunk-Crc32',
} as const;

/** The only content type: one msgpack value in which tensors are extension 84. */
export const contentType = 'application/msgpack';

/** `client-1:2:17`. Throws a plain error when a part could not be read back. */
export function messageIdOf({sender, incarnation, sequence}: MessageId): string {
	const text = `${sender}:${incarnation}:${sequence}`;
	if (!parseMessageId(text)) throw new Error(`${text} is no message id: expected <id>:<whole number>:<whole number>`);
	return text;
}

/** The parts of a message id, or `undefined` when it is not one. */
export function parseMessageId(text: string): MessageId | undefined {
	if (text.length > 100) return undefined;
	const [sender, incarnation, sequence, ...rest] = text.split(':');
	if (sender === undefined || !isId(sender) || rest.length > 0) return undefined;
	const numbers = [wholeNumber(incarnation), wholeNumber(sequence)] as const;
	if (numbers[0] === undefined || numbers[1] === undefined) return undefined;
	return {sender, incarnation: numbers[0], sequence: numbers[1]};
}

/** A whole number as we write it (no sign, no leading zero), or `undefined`. */
export function wholeNumber(text: string | undefined): number | undefined {
	if (text === undefined || !/^(0|[1-9]\d{0,15})$/.test(text)) return undefined;
	const value = Number(text);
	return Number.isSafeInteger(value) ? value : undefined;
}

/** The headers of a frame to send. */
export function headersOf(messageId: string, sequence: number, causationId?: string): Record<string, string> {
	return {
		[headerNames.messageId]: messageId,
		...(causationId !== undefined && {[headerNames.causationId]: causationId}),
		[headerNames.version]: String(protocolVersion),
		[headerNames.contentType]: contentType,
		[headerNames.sequence]: String(sequence),
	};
}

/** Reads subject and headers; gives the envelope or the first problem. */
export function readEnvelope(frame: Frame): {envelope: Envelope} | {problem: FrameProblem} {
	const {headers} = frame;
	const subject = parseSubject(frame.subject);
	if (!subject)
		return refuse(
			'subject-unknown',
			'subject',
			frame.subject,
			'cutlayer.v1.<run>.<kind>.<id>.<verb>[.<to>]',
			'publish under a subject of this protocol',
		);
	const version = headers[headerNames.version];
	if (version !== String(protocolVersion)) {
		return refuse(
			'version-unknown',
			headerNames.version,
			version,
			String(protocolVersion),
			'run the same Cutlayer version on both sides',
		);
	}
	const type = headers[headerNames.contentType];
	if (type !== contentType)
		return refuse('content-type-unknown', headerNames.contentType, type, contentType, 'encode the body with msgpack');
	const text = headers[headerNames.messageId];
	const id = parseMessageId(text ?? '');
	if (!id || id.sender !== subject.id) {
		return refuse(
			'header-invalid',
			headerNames.messageId,
			text,
			`${subject.id}:<incarnation>:<sequence>`,
			'send under your own id and number your messages',
		);
	}
	const sequence = headers[headerNames.sequence];
	if (wholeNumber(sequence) !== id.sequence) {
		return refuse(
			'header-invalid',
			headerNames.sequence,
			sequence,
			String(id.sequence),
			'use the number that the message id ends with',
		);
	}
	const causationId = headers[headerNames.causationId];
	if (causationId !== undefined && !parseMessageId(causationId)) {
		return refuse(
			'header-invalid',
			headerNames.causationId,
			causationId,
			'<id>:<incarnation>:<sequence>',
			'name the message that caused this one, or leave the header out',
		);
	}
	return {
		envelope: {
			subject,
			messageId: text as string,
			incarnation: id.incarnation,
			sequence: id.sequence,
			...(causationId !== undefined && {causationId}),
			bytes: frame.body.byteLength,
		},
	};
}

/** The refusal as one sentence for a log or a user. */
export const problemText = ({field, found, expected, fix}: FrameProblem): string =>
	`Refused a frame: expected ${field} to be ${expected}, found ${found}; ${fix}`;

/** A refusal; what was found is cut to a length that is safe to send and to print. */
export function problemOf(
	code: FrameProblemCode,
	field: string,
	found: string | undefined,
	expected: string,
	fix: string,
): FrameProblem {
	return {code, field: printable(field), found: found === undefined ? 'nothing' : printable(found), expected, fix};
}

function refuse(...parts: Parameters<typeof problemOf>): {problem: FrameProblem} {
	return {problem: problemOf(...parts)};
}

function printable(text: string): string {
	const line = text.slice(0, 100).replace(/[^\x20-\x7e]/g, '?');
	return text.length > 100 ? `${line}...` : line;
}
