/**
A tensor inside a msgpack body: extension 84 with the payload `dtype u8, rank u8, padding u8, 0, extents u32[rank], padding, values`,
all little-endian. The padding puts the values on a multiple of 8 bytes from the start of the body, so decoding is a view.
*/
import {type FrameProblem, problemOf} from './envelope.ts';
import type {Extension} from './frame-scan.ts';
import {byteLengthOf, type Dtype, sizeOf, type Tensor} from './tensor.ts';

/** The msgpack extension type of a tensor. */
export const tensorExtensionType = 84;

const dtypes: readonly (Dtype | undefined)[] = [undefined, 'f32', 'bf16', 'f16', 'i8', 'i32'];
const rankMax = 8;
const alignment = 8;
/** The ext 32 token, its length and its type. */
const extensionHeaderBytes = 6;
const fixedBytes = 4;

/** Whether a value is a tensor by its shape in memory. */
export function isTensor(value: object): value is Tensor {
	const {dtype, shape, bytes} = value as Partial<Tensor>;
	return bytes instanceof Uint8Array && Array.isArray(shape) && typeof dtype === 'string';
}

/** Throws a plain error when a tensor to send does not describe its own bytes. */
export function checkTensor({dtype, shape, bytes}: Tensor, field: string): void {
	if (!dtypes.includes(dtype)) throw new Error(`${field} has the unknown dtype ${dtype}`);
	const isShape =
		shape.length <= rankMax && shape.every(extent => Number.isInteger(extent) && extent >= 0 && extent < 2 ** 32);
	if (!isShape || (dtype === 'i8' && shape.length === 0))
		throw new Error(`${field} has no shape that can be sent: [${shape.join(', ')}]`);
	const expected = byteLengthOf(dtype, shape);
	if (bytes.byteLength !== expected) {
		throw new Error(
			`${field} is ${dtype} [${shape.join(', ')}], which takes ${expected} bytes, but has ${bytes.byteLength}`,
		);
	}
}

/** How many bytes the extension takes when its header begins at `at` in the body. */
export function extensionBytes({shape, bytes}: Tensor, at: number): number {
	return valuesAt(shape.length, at) - at + bytes.byteLength;
}

/** Writes the extension into a body at `at` and returns where it ends. The bytes of the tensor are copied once. */
export function writeTensor(body: Uint8Array, at: number, tensor: Tensor): number {
	const rank = tensor.shape.length;
	const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
	const values = valuesAt(rank, at);
	const unpadded = at + extensionHeaderBytes + fixedBytes + 4 * rank;
	body[at] = 0xc9;
	view.setUint32(at + 1, values - at - extensionHeaderBytes + tensor.bytes.byteLength);
	body[at + 5] = tensorExtensionType;
	body[at + 6] = dtypes.indexOf(tensor.dtype);
	body[at + 7] = rank;
	body[at + 8] = values - unpadded;
	for (let axis = 0; axis < rank; axis++) view.setUint32(at + 10 + 4 * axis, tensor.shape[axis]!, true);
	body.set(tensor.bytes, values);
	return values + tensor.bytes.byteLength;
}

/** Reads the payload of an extension: a view of the body where its memory is 4-aligned, else one copy. */
export function readTensor(body: Uint8Array, extension: Extension): Tensor | FrameProblem {
	const {payloadAt, length} = extension;
	if (extension.type !== tensorExtensionType) {
		return refuse(
			extension,
			'',
			`extension ${extension.type}`,
			`extension ${tensorExtensionType}`,
			'send JSON values and tensors only',
		);
	}
	const dtype = length < fixedBytes ? undefined : dtypes[body[payloadAt]!];
	if (!dtype)
		return refuse(
			extension,
			'.dtype',
			length < fixedBytes ? 'nothing' : `code ${body[payloadAt]}`,
			dtypeNames,
			'send one of these',
		);
	const rank = body[payloadAt + 1]!;
	if (rank > rankMax || length < fixedBytes + 4 * rank || (dtype === 'i8' && rank === 0)) {
		return refuse(
			extension,
			'.shape',
			`${rank} extents in ${length} bytes`,
			`at most ${rankMax} extents (i8: at least 1)`,
			'reshape the tensor',
		);
	}
	const shape = readShape(body, payloadAt + fixedBytes, rank);
	const padding = body[payloadAt + 2]!;
	const valuesBytes = length - fixedBytes - 4 * rank - padding;
	const expected = byteLengthOf(dtype, shape);
	if (valuesBytes !== expected || padding >= alignment || body[payloadAt + 3] !== 0) {
		return refuse(
			extension,
			'.shape',
			`${valuesBytes} bytes of values`,
			`${expected} bytes for ${dtype} [${shape.join(', ')}]`,
			'send a shape that describes the bytes',
		);
	}
	return {dtype, shape, bytes: alignedView(body, payloadAt + length - valuesBytes, valuesBytes)};
}

/** A tensor's size in words, for messages: `f32 [12, 576]`. */
export const tensorText = ({dtype, shape}: Tensor): string => `${dtype} [${shape.join(', ')}], ${sizeOf(shape)} values`;

const dtypeNames = dtypes.filter(dtype => dtype !== undefined).join(', ');

function valuesAt(rank: number, at: number): number {
	const unpadded = at + extensionHeaderBytes + fixedBytes + 4 * rank;
	return Math.ceil(unpadded / alignment) * alignment;
}

function readShape(body: Uint8Array, at: number, rank: number): number[] {
	const view = new DataView(body.buffer, body.byteOffset + at, 4 * rank);
	return Array.from({length: rank}, (_, axis) => view.getUint32(4 * axis, true));
}

function alignedView(body: Uint8Array, at: number, length: number): Uint8Array {
	const view = new Uint8Array(body.buffer, body.byteOffset + at, length);
	return view.byteOffset % 4 === 0 ? view : view.slice();
}

function refuse(extension: Extension, part: string, found: string, expected: string, fix: string): FrameProblem {
	return problemOf('tensor-invalid', `${extension.field()}${part}`, found, expected, fix);
}
