/**
Sixteen-bit floats of weight files as f32 values. No file access here.
*/

let f16Values: Float32Array | undefined;

/** The f32 value of every one of the 65,536 half-precision bit patterns; made once. */
export function f16Table(): Float32Array {
	f16Values ??= Float32Array.from({length: 65_536}, (_, bits) => f16Value(bits));
	return f16Values;
}

/** f16 bytes, little-endian, as f32 values. */
export function f16ToF32(
	bytes: Uint8Array,
	values: Float32Array = new Float32Array(bytes.byteLength / 2),
): Float32Array {
	const table = f16Table();
	for (let index = 0; index < values.length; index++) {
		values[index] = table[bytes[2 * index]! | (bytes[2 * index + 1]! << 8)]!;
	}
	return values;
}

/** bf16 bytes, little-endian, as f32 values: the upper half of an f32. */
export function bf16ToF32(
	bytes: Uint8Array,
	values: Float32Array = new Float32Array(bytes.byteLength / 2),
): Float32Array {
	const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
	for (let index = 0; index < words.length; index++) {
		words[index] = (bytes[2 * index]! << 16) | (bytes[2 * index + 1]! << 24);
	}
	return values;
}

function f16Value(bits: number): number {
	const sign = bits & 0x8000 ? -1 : 1;
	const exponent = (bits >> 10) & 0x1f;
	const fraction = bits & 0x3ff;
	if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
	return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
