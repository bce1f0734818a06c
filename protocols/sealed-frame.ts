/**
A frame that keeps what it says and is put into bytes only when somebody asks for them: between actors of one process nobody does.
Its length is that of the bytes all the same. It knows no msgpack library; what it cannot be sure of is put into bytes at once.
*/
import {type Envelope, headerNames, headersOf} from './envelope.ts';
import {defaultFrameLimits} from './frame-scan.ts';
import type {Frame} from './ports.ts';
import type {Tensor} from './tensor.ts';
import {checkTensor, extensionBytes, isTensor} from './tensor-extension.ts';

/** What a body says as a receiver will read it, its tensors, and the length of its bytes. */
export type Content = {readonly body: unknown; readonly tensors: readonly Tensor[]; readonly bytes: number};

export class SealedFrame implements Frame {
	readonly subject: string;
	readonly headers: Frame['headers'];
	readonly envelope: Envelope;
	readonly #content: Content;
	readonly #encode: (body: unknown) => Uint8Array;
	#body: Uint8Array | undefined;

	/** The headers are those of the envelope. */
	constructor(subject: string, envelope: Envelope, content: Content, encode: (body: unknown) => Uint8Array) {
		this.subject = subject;
		this.headers = headersOf(envelope.messageId, envelope.sequence, envelope.causationId);
		this.envelope = envelope;
		this.#content = content;
		this.#encode = encode;
	}

	get content(): Content {
		return this.#content;
	}

	get body(): Uint8Array {
		this.#body ??= this.#encode(this.#content.body);
		return this.#body;
	}
}

/** The length of a frame's body, which nobody has to put into bytes for that. */
export const frameBytes = (frame: Frame): number =>
	frame instanceof SealedFrame ? frame.content.bytes : frame.body.byteLength;

/** The message id that a frame says it has, unchecked; empty when it says none. */
export const frameId = (frame: Frame): string =>
	frame instanceof SealedFrame ? frame.envelope.messageId : (frame.headers[headerNames.messageId] ?? '');

/** Beyond any usual message: what is larger may be over a receiver's limit, which only its bytes tell. */
const valuesMax = defaultFrameLimits.valuesMax >> 1;
const bytesMax = defaultFrameLimits.bodyBytesMax >> 1;

/** Thrown inside `contentOf` alone. */
const notPlain = new Error('not plain');

/**
The content of a body whose bytes and their meaning follow from it without doubt: texts of ASCII, numbers, lists, plain objects and
tensors; nothing for any other, which the encoder takes or refuses. Members that are `undefined` are left out.
*/
export function contentOf(value: unknown): Content | undefined {
	const measured: Measured = {tensors: [], bytes: 0, values: 0};
	try {
		const body = copied(value, measured, 0);
		return measured.bytes > bytesMax ? undefined : {body, tensors: measured.tensors, bytes: measured.bytes};
	} catch {
		return undefined;
	}
}

type Measured = {readonly tensors: Tensor[]; bytes: number; values: number};

/** The value as it will be read; what it takes in msgpack is added to `measured`. */
function copied(value: unknown, measured: Measured, depth: number): unknown {
	if (++measured.values > valuesMax || depth >= defaultFrameLimits.depthMax) throw notPlain;
	switch (typeof value) {
		case 'number':
			measured.bytes += numberBytes(value);
			return value === 0 ? 0 : value;
		case 'string':
			measured.bytes += textBytes(value);
			return value;
		case 'boolean':
			measured.bytes += 1;
			return value;
		case 'object':
			break;
		default:
			throw notPlain;
	}
	if (value === null) {
		measured.bytes += 1;
		return null;
	}
	if (Array.isArray(value)) {
		measured.bytes += value.length < 16 ? 1 : value.length < 0x10000 ? 3 : 5;
		const copy: unknown[] = [];
		for (const item of value) copy.push(copied(item ?? null, measured, depth + 1));
		return copy;
	}
	if (isTensor(value)) return tensorIn(value, measured);
	return objectCopied(value, measured, depth);
}

function tensorIn(tensor: Tensor, measured: Measured): Tensor {
	checkTensor(tensor, '');
	measured.bytes += extensionBytes(tensor, measured.bytes);
	// Nobody changes a tensor, so that what is no more than one is itself its copy.
	const {dtype, shape, bytes} = tensor;
	const copy = Object.keys(tensor).length === 3 ? tensor : {dtype, shape: [...shape], bytes};
	measured.tensors.push(copy);
	return copy;
}

function objectCopied(value: object, measured: Measured, depth: number): Record<string, unknown> {
	if (Object.getPrototypeOf(value) !== Object.prototype) throw notPlain;
	measured.bytes += 3;
	const copy: Record<string, unknown> = {};
	const keys = Object.keys(value);
	if (keys.length > 0xffff) throw notPlain;
	for (const key of keys) {
		const member = (value as Record<string, unknown>)[key];
		if (member === undefined) continue;
		if (key in Object.prototype) throw notPlain;
		measured.bytes += textBytes(key);
		copy[key] = copied(member, measured, depth + 1);
	}
	return copy;
}

function numberBytes(value: number): number {
	if (value >>> 0 === value) return value < 0x80 ? 1 : value < 0x100 ? 2 : value < 0x10000 ? 3 : 5;
	if (value >> 0 === value) return value >= -0x20 ? 1 : value >= -0x80 ? 2 : value >= -0x8000 ? 3 : 5;
	return 9;
}

function textBytes(text: string): number {
	const {length} = text;
	for (let at = 0; at < length; at++) if (text.charCodeAt(at) > 0x7f) throw notPlain;
	return length + (length < 0x20 ? 1 : length < 0x100 ? 2 : length < 0x10000 ? 3 : 5);
}
