/**
Frames to and from messages: msgpack bodies with tensors inside, and the headers around them.
The only file that knows msgpackr, and one place for both ends, since unequal settings silently change types.
*/
import {addExtension, Packr, RESERVE_START_SPACE, Unpackr} from 'msgpackr';
import {type Envelope, type FrameProblem, headersOf, parseMessageId, problemOf, readEnvelope} from './envelope.ts';
import {isFiniteTensor} from './finite.ts';
import {defaultFrameLimits, type FrameLimits, scanBody} from './frame-scan.ts';
import type {Frame} from './ports.ts';
import {contentOf, SealedFrame} from './sealed-frame.ts';
import {parseSubject, type Subject} from './subjects.ts';
import type {Tensor} from './tensor.ts';
import {
	checkTensor,
	extensionBytes,
	isTensor,
	readTensor,
	tensorExtensionType,
	tensorText,
	writeTensor,
} from './tensor-extension.ts';

export type {FrameLimits} from './frame-scan.ts';

/** A message to send. */
export type Outgoing = {
	/** The subject as text; its id must be the sender of `messageId`. */
	readonly subject: string;
	/** `<sender>:<incarnation>:<sequence>`. */
	readonly messageId: string;
	readonly causationId?: string;
	/** The number that `messageId` ends with. */
	readonly sequence: number;
	/** Strings, numbers, booleans, null, arrays, plain objects and tensors; fields that are `undefined` are left out. */
	readonly body: unknown;
};

/** What a frame says, or why it is refused. Tensors are views of the frame where aligned: read them only. */
export type Decoded =
	| {readonly ok: true; readonly envelope: Envelope; readonly body: unknown}
	| {readonly ok: false; readonly problem: FrameProblem};

const settings = {useRecords: false, mapsAsObjects: true, moreTypes: false, int64AsType: 'number'} as const;
const packr = new Packr({...settings});
const unpackr = new Unpackr({...settings});

/** Stands for a tensor while msgpackr packs the rest. */
class Slot {}

/** The tensors of the body being unpacked, in order of their place; msgpackr asks for one after the other. */
let tensorsToPlace: readonly Tensor[] = [];
let placed = 0;

addExtension({
	Class: Slot,
	type: tensorExtensionType,
	pack: () => new Uint8Array(4),
	unpack: () => tensorsToPlace[placed++],
});

/**
Encodes a message, its body when somebody asks for it: every tensor is copied once, into place, and must not change any more. Throws a
plain error for a body that could not be read back.
*/
export function encodeFrame({subject, messageId, causationId, sequence, body}: Outgoing): Frame {
	const id = parseMessageId(messageId);
	if (!id || id.sequence !== sequence) throw new Error(`${messageId} is no message id of sequence ${sequence}`);
	const parts = parseSubject(subject);
	if (parts?.id !== id.sender) throw new Error(`${messageId} may not be sent under ${subject}`);
	const isRead = causationId === undefined || parseMessageId(causationId) !== undefined;
	if (!isRead) return {subject, headers: headersOf(messageId, sequence, causationId), body: encodeBody(body)};
	return sealFrame({subject, parts, messageId, causationId, incarnation: id.incarnation, sequence, body});
}

/** A message whose sender has made sure of all that is said around the body: `parts` are the subject's, `messageId` is of its sender. */
export type Sealing = Omit<Outgoing, 'causationId'> & {
	readonly parts: Subject;
	readonly incarnation: number;
	/** Of a message that was received. */
	readonly causationId: string | undefined;
};

/** As `encodeFrame`, without another look at subject and ids. */
export function sealFrame({subject, parts, messageId, causationId, incarnation, sequence, body}: Sealing): Frame {
	const content = contentOf(body);
	if (!content) return {subject, headers: headersOf(messageId, sequence, causationId), body: encodeBody(body)};
	const {bytes} = content;
	const envelope: Envelope =
		causationId === undefined
			? {subject: parts, messageId, incarnation, sequence, bytes}
			: {subject: parts, messageId, incarnation, sequence, causationId, bytes};
	return new SealedFrame(subject, envelope, content, encodeBody);
}

/** Decodes a frame that may come from anyone: it never throws and allocates no more than the frame is long, within limits. */
export function decodeFrame(frame: Frame, limits: Partial<FrameLimits> = {}): Decoded {
	const read = readEnvelope(frame);
	if ('problem' in read) return {ok: false, problem: read.problem};
	const decoded = decodeBody(frame.body, {...defaultFrameLimits, ...limits});
	return decoded.ok ? {ok: true, envelope: read.envelope, body: decoded.body} : decoded;
}

/**
Packs a plain value without tensors, such as a record of a trace, after `headBytes` (under 256) that are left free. The memory
around the result belongs to others.
*/
export const packPlain = (value: unknown, headBytes = 0): Buffer =>
	packr.pack(value, headBytes === 0 ? 0 : RESERVE_START_SPACE | headBytes);

/** Reads what `packPlain` wrote, from `start` to `end` of some bytes; throws when it is no single msgpack value. */
export const unpackPlain = (bytes: Uint8Array, start = 0, end = bytes.length): unknown =>
	unpackr.unpack(bytes, {start, end});

/** Packs the structure with empty slots, then writes it around the tensors into one allocation of the right size. */
function encodeBody(value: unknown): Uint8Array {
	const tensors: Tensor[] = [];
	const packed = packr.pack(structureOf(value, tensors, 'body', 0));
	if (tensors.length === 0) return new Uint8Array(packed);
	const slots = slotsOf(packed);
	let length = 0;
	let copied = 0;
	for (const [index, tensor] of tensors.entries()) {
		length += slots[index]!.from - copied;
		length += extensionBytes(tensor, length);
		copied = slots[index]!.to;
	}
	const body = new Uint8Array(length + packed.length - copied);
	return splice(body, packed, slots, tensors);
}

type Slots = readonly {readonly from: number; readonly to: number}[];

function slotsOf(packed: Uint8Array): Slots {
	const slots: {from: number; to: number}[] = [];
	const problem = scanBody(
		packed,
		{...defaultFrameLimits, valuesMax: Number.POSITIVE_INFINITY},
		({headerAt, payloadAt, length}) => {
			slots.push({from: headerAt, to: payloadAt + length});
			return undefined;
		},
	);
	if (problem) throw new Error(`The codec packed what it would refuse: ${problem.field} is ${problem.found}`);
	return slots;
}

function splice(body: Uint8Array, packed: Uint8Array, slots: Slots, tensors: readonly Tensor[]): Uint8Array {
	let at = 0;
	let copied = 0;
	for (const [index, tensor] of tensors.entries()) {
		const {from, to} = slots[index]!;
		body.set(packed.subarray(copied, from), at);
		at = writeTensor(body, at + from - copied, tensor);
		copied = to;
	}
	body.set(packed.subarray(copied), at);
	return body;
}

/** A copy of the body with slots for its tensors, which are appended to `tensors`. */
function structureOf(value: unknown, tensors: Tensor[], field: string, depth: number): unknown {
	if (value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean')
		return value;
	if (typeof value !== 'object') throw new Error(`${field} is a ${typeof value}, which a message cannot carry`);
	if (isTensor(value)) {
		checkTensor(value, field);
		tensors.push(value);
		return new Slot();
	}
	if (depth >= defaultFrameLimits.depthMax)
		throw new Error(`${field} is nested deeper than ${defaultFrameLimits.depthMax} levels`);
	if (Array.isArray(value))
		return value.map((item, index) => structureOf(item ?? null, tensors, `${field}[${index}]`, depth + 1));
	const prototype: unknown = Object.getPrototypeOf(value);
	if (prototype !== Object.prototype && prototype !== null)
		throw new Error(`${field} is no plain object, which a message cannot carry`);
	const copy: Record<string, unknown> = {};
	for (const [key, item] of Object.entries(value)) {
		if (item !== undefined) copy[key] = structureOf(item, tensors, `${field}.${key}`, depth + 1);
	}
	return copy;
}

type DecodedBody = {ok: true; body: unknown} | {ok: false; problem: FrameProblem};

function decodeBody(bytes: Uint8Array, limits: FrameLimits): DecodedBody {
	if (bytes.length > limits.bodyBytesMax) {
		const problem = problemOf(
			'too-large',
			'body',
			`${bytes.length} bytes`,
			`at most ${limits.bodyBytesMax} bytes`,
			'send smaller batches',
		);
		return {ok: false, problem};
	}
	// Never the given view: it may be a Buffer, whose slice is no copy, and msgpackr leaves a property on its source.
	const body = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	const tensors: Tensor[] = [];
	const problem = scanBody(body, limits, extension => {
		const tensor = readTensor(body, extension);
		if ('code' in tensor) return tensor;
		tensors.push(tensor);
		if (!limits.finiteOnly || isFiniteTensor(tensor)) return undefined;
		return problemOf(
			'not-finite',
			extension.field(),
			`NaN or infinity in ${tensorText(tensor)}`,
			'finite',
			'lower the learning rate or send in bf16 or f32',
		);
	});
	return problem ? {ok: false, problem} : unpackBody(body, tensors);
}

function unpackBody(body: Uint8Array, tensors: readonly Tensor[]): DecodedBody {
	tensorsToPlace = tensors;
	placed = 0;
	try {
		return {ok: true, body: unpackr.unpack(body)};
	} catch (thrown) {
		return {
			ok: false,
			problem: problemOf('malformed', 'body', String(thrown), 'one msgpack value', 'send the frame again'),
		};
	} finally {
		tensorsToPlace = [];
	}
}
