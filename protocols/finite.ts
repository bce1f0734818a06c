/**
Whether a tensor holds NaN or infinity, found from the exponent bits alone. It converts nothing.
*/
import {makeCarryScan} from './finite-simd.ts';
import type {Tensor} from './tensor.ts';

/** False when any value is NaN or infinite; for `i8` the scales are looked at, for `i32` it is always true. */
export function isFiniteTensor(tensor: Tensor): boolean {
	switch (tensor.dtype) {
		case 'i32':
			return true;
		case 'i8':
			return isFinite32(tensor.bytes.subarray(0, 4 * (tensor.shape[0] ?? 0)));
		case 'f32':
			return isFinite32(tensor.bytes);
		case 'bf16':
			return isFinite16(tensor.bytes, 0x7f80);
		case 'f16':
			return isFinite16(tensor.bytes, 0x7c00);
	}
}

function isFinite32(bytes: Uint8Array): boolean {
	return (carries(bytes, 0x7f80_0000, 0x0080_0000) & 0x8000_0000) === 0;
}

/** Two values a word: an exponent of all ones plus its lowest bit reaches the sign bit and nothing beyond. */
function isFinite16(bytes: Uint8Array, exponent: number): boolean {
	const lowest = exponent & -exponent;
	if ((carries(bytes, exponent | (exponent << 16), lowest | (lowest << 16)) & 0x8000_8000) !== 0) return false;
	if (bytes.length % 4 === 0) return true;
	const last = bytes[bytes.length - 2]! | (bytes[bytes.length - 1]! << 8);
	return (last & exponent) !== exponent;
}

/** Where the start of the vector loop costs less than it saves, in bytes. */
const vectorBytesMin = 2048;

const carryScan = makeCarryScan();

/** All bits that adding `lowest` to each masked word sets: a sign bit only where an exponent is full. */
function carries(bytes: Uint8Array, mask: number, lowest: number): number {
	if (carryScan && bytes.length >= vectorBytesMin) return carryScan(bytes, mask, lowest);
	const words = wordsOf(bytes);
	let seen = 0;
	for (let at = 0; at < words.length; at++) seen |= (words[at]! & mask) + lowest;
	return seen;
}

function wordsOf(bytes: Uint8Array): Int32Array {
	const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
	return new Int32Array(aligned.buffer, aligned.byteOffset, Math.floor(aligned.byteLength / 4));
}
