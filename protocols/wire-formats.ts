/**
The number formats tensors cross the bus in: f32 as it is, bf16 and f16 rounded to nearest even, i8 with one scale a row.
Rounding only: what to send in which format is the scenario's choice.
*/
import type {Dtype, Tensor} from './tensor.ts';
import {f32View, sizeOf} from './tensor.ts';

/** A format that activations, gradients or adapters may be sent in. */
export type WireFormat = Exclude<Dtype, 'i32'>;

/**
An f32 tensor in a wire format. Relative error: bf16 at most 2^-8, f16 at most 2^-11 (absolute 2^-25 below 2^-14; beyond
65,504 it becomes infinite, which a receiver refuses). i8: absolute error at most half of (largest magnitude of the row / 127), or of
2^-149, the least f32, where that is more.
*/
export function toWireFormat(tensor: Tensor, format: WireFormat): Tensor {
	const values = f32View(tensor);
	switch (format) {
		case 'f32':
			return tensor;
		case 'bf16':
			return {dtype: 'bf16', shape: tensor.shape, bytes: halves(values, bf16Bits)};
		case 'f16':
			return {dtype: 'f16', shape: tensor.shape, bytes: halves(values, f16Bits)};
		case 'i8':
			return {dtype: 'i8', shape: tensor.shape, bytes: quantiseRows(values, tensor.shape)};
	}
}

/** The f32 tensor that a tensor in a wire format stands for. */
export function fromWireFormat(tensor: Tensor): Tensor {
	if (tensor.dtype === 'f32') return tensor;
	const values = new Float32Array(sizeOf(tensor.shape));
	if (tensor.dtype === 'bf16') widenBf16(tensor.bytes, values);
	else if (tensor.dtype === 'f16') widenF16(tensor.bytes, values);
	else if (tensor.dtype === 'i8') dequantiseRows(tensor, values);
	else throw new Error(`Expected a wire format, got ${tensor.dtype}`);
	return {dtype: 'f32', shape: tensor.shape, bytes: new Uint8Array(values.buffer)};
}

/** The bf16 bits nearest to an f32 given as bits; NaN stays NaN. */
function bf16Bits(bits: number): number {
	if ((bits & 0x7fff_ffff) > 0x7f80_0000) return (bits >>> 16) | 0x40;
	return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** The f16 bits nearest to an f32 given as bits; NaN stays NaN. */
function f16Bits(bits: number): number {
	const sign = (bits >>> 16) & 0x8000;
	const magnitude = bits & 0x7fff_ffff;
	if (magnitude > 0x7f80_0000) return sign | 0x7e00;
	if (magnitude >= 0x4780_0000) return sign | 0x7c00; // 65,536 and above
	if (magnitude >= 0x3880_0000) return sign | roundShift(magnitude - 0x3800_0000, 13); // normal, may carry to infinity
	const shift = 126 - (magnitude >>> 23);
	return shift > 24 ? sign : sign | roundShift((magnitude & 0x7f_ffff) | 0x80_0000, shift);
}

/** `value / 2^shift`, rounded to nearest even. */
function roundShift(value: number, shift: number): number {
	const half = 1 << (shift - 1);
	return (value + half - 1 + ((value >>> shift) & 1)) >>> shift;
}

function halves(values: Float32Array, bitsOf: (bits: number) => number): Uint8Array {
	const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
	const out = new Uint16Array(values.length);
	for (let at = 0; at < out.length; at++) out[at] = bitsOf(bits[at]!);
	return new Uint8Array(out.buffer);
}

function widenBf16(bytes: Uint8Array, values: Float32Array): void {
	const source = wordsOf(bytes);
	const bits = new Uint32Array(values.buffer);
	for (let at = 0; at < source.length; at++) bits[at] = source[at]! << 16;
}

function widenF16(bytes: Uint8Array, values: Float32Array): void {
	const source = wordsOf(bytes);
	f16Values ??= Float32Array.from({length: 65_536}, (_, bits) => f16Value(bits));
	for (let at = 0; at < source.length; at++) values[at] = f16Values[source[at]!]!;
}

/** The value of every f16, made when first needed. */
let f16Values: Float32Array | undefined;

function f16Value(bits: number): number {
	const exponent = (bits >>> 10) & 0x1f;
	const mantissa = bits & 0x3ff;
	const sign = bits & 0x8000 ? -1 : 1;
	if (exponent === 0x1f) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
	return sign * (exponent === 0 ? mantissa * 2 ** -24 : (1024 + mantissa) * 2 ** (exponent - 25));
}

function wordsOf(bytes: Uint8Array): Uint16Array {
	const aligned = bytes.byteOffset % 2 === 0 ? bytes : new Uint8Array(bytes);
	return new Uint16Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 2);
}

function quantiseRows(values: Float32Array, shape: readonly number[]): Uint8Array {
	const rows = rowsOf(shape);
	const columns = rows === 0 ? 0 : values.length / rows;
	const bytes = new Uint8Array(4 * rows + values.length);
	const scales = new Float32Array(bytes.buffer, 0, rows);
	const quantised = new Int8Array(bytes.buffer, 4 * rows);
	for (let row = 0; row < rows; row++) {
		const from = row * columns;
		scales[row] = scaleOf(largestMagnitude(values, from, from + columns));
		const scale = scales[row]!;
		if (scale === 0 || !Number.isFinite(scale)) continue; // a scale that is not finite carries the fault to the receiver
		for (let at = from; at < from + columns; at++) quantised[at] = clampByte(roundHalfEven(values[at]! / scale));
	}
	return bytes;
}

function dequantiseRows({bytes, shape}: Tensor, values: Float32Array): void {
	const rows = rowsOf(shape);
	const columns = rows === 0 ? 0 : values.length / rows;
	const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
	const scales = new Float32Array(aligned.buffer, aligned.byteOffset, rows);
	const quantised = new Int8Array(aligned.buffer, aligned.byteOffset + 4 * rows, values.length);
	for (let row = 0; row < rows; row++) {
		const scale = scales[row]!;
		for (let at = row * columns; at < (row + 1) * columns; at++) values[at] = quantised[at]! * scale;
	}
}

/** A step that 127 of reach `largest`: among the least numbers, where f32 has no fraction to round to, it is rounded up. */
function scaleOf(largest: number): number {
	const scale = largest / 127;
	return scale < 2 ** -126 ? Math.ceil(scale / 2 ** -149) * 2 ** -149 : scale;
}

function rowsOf(shape: readonly number[]): number {
	const [rows] = shape;
	if (rows === undefined) throw new Error('An i8 tensor needs rows: its shape is empty');
	return rows;
}

/** NaN when any value is NaN. */
function largestMagnitude(values: Float32Array, from: number, to: number): number {
	let largest = 0;
	for (let at = from; at < to; at++) {
		const magnitude = Math.abs(values[at]!);
		if (magnitude <= largest) continue;
		largest = magnitude;
		if (Number.isNaN(magnitude)) break;
	}
	return largest;
}

function roundHalfEven(value: number): number {
	const rounded = Math.round(value);
	return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

const clampByte = (value: number): number => Math.max(-127, Math.min(127, value));
