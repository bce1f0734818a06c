/**
Whether a tensor holds NaN or infinity, found from the exponent bits alone. It converts nothing.
*/
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
	return !overflows(wordsOf(bytes), 0x7f80_0000, 0x0080_0000, 0x8000_0000 | 0);
}

/** Two values a word: an exponent of all ones plus its lowest bit reaches the sign bit and nothing beyond. */
function isFinite16(bytes: Uint8Array, exponent: number): boolean {
	const lowest = exponent & -exponent;
	const mask = exponent | (exponent << 16);
	if (overflows(wordsOf(bytes), mask, lowest | (lowest << 16), 0x8000_8000 | 0)) return false;
	if (bytes.length % 4 === 0) return true;
	const last = bytes[bytes.length - 2]! | (bytes[bytes.length - 1]! << 8);
	return (last & exponent) !== exponent;
}

/** One pass without a branch a value: collects the bit that only a full exponent carries into. */
function overflows(words: Int32Array, mask: number, lowest: number, carried: number): boolean {
	const even = words.length & ~3;
	let [seen, second, third, fourth] = [0, 0, 0, 0]; // apart, so that four words are in flight at a time
	for (let at = 0; at < even; at += 4) {
		seen |= (words[at]! & mask) + lowest;
		second |= (words[at + 1]! & mask) + lowest;
		third |= (words[at + 2]! & mask) + lowest;
		fourth |= (words[at + 3]! & mask) + lowest;
	}
	for (let at = even; at < words.length; at++) seen |= (words[at]! & mask) + lowest;
	return ((seen | second | third | fourth) & carried) !== 0;
}

function wordsOf(bytes: Uint8Array): Int32Array {
	const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
	return new Int32Array(aligned.buffer, aligned.byteOffset, Math.floor(aligned.byteLength / 4));
}
