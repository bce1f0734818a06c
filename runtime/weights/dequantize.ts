/**
The block formats of GGUF files as f32 values, exactly as the reference decoder computes them. Knows bytes, not files.
*/
import {bf16ToF32, f16Table, f16ToF32} from './half.ts';

/** One stored type: `blockBytes` bytes hold `blockValues` values. */
export type BlockFormat = {
	readonly name: string;
	readonly blockValues: number;
	readonly blockBytes: number;
	/** Decodes whole blocks; `bytes` starts at offset 0 of its memory. */
	readonly decode: (bytes: Uint8Array, values: Float32Array) => void;
};

/** The supported formats by their number in GGUF files. */
export const blockFormats: ReadonlyMap<number, BlockFormat> = new Map<number, BlockFormat>([
	[0, {name: 'F32', blockValues: 1, blockBytes: 4, decode: decodeF32}],
	[1, {name: 'F16', blockValues: 1, blockBytes: 2, decode: f16ToF32}],
	[2, {name: 'Q4_0', blockValues: 32, blockBytes: 18, decode: decodeQ4_0}],
	[3, {name: 'Q4_1', blockValues: 32, blockBytes: 20, decode: decodeQ4_1}],
	[6, {name: 'Q5_0', blockValues: 32, blockBytes: 22, decode: decodeQ5_0}],
	[7, {name: 'Q5_1', blockValues: 32, blockBytes: 24, decode: decodeQ5_1}],
	[8, {name: 'Q8_0', blockValues: 32, blockBytes: 34, decode: decodeQ8_0}],
	[12, {name: 'Q4_K', blockValues: 256, blockBytes: 144, decode: decodeQ4_K}],
	[14, {name: 'Q6_K', blockValues: 256, blockBytes: 210, decode: decodeQ6_K}],
	[30, {name: 'BF16', blockValues: 1, blockBytes: 2, decode: bf16ToF32}],
]);

const half = (table: Float32Array, bytes: Uint8Array, at: number) => table[bytes[at]! | (bytes[at + 1]! << 8)]!;

function decodeF32(bytes: Uint8Array, values: Float32Array): void {
	values.set(new Float32Array(bytes.buffer, bytes.byteOffset, values.length));
}

function decodeQ4_0(bytes: Uint8Array, values: Float32Array): void {
	const table = f16Table();
	for (let block = 0, to = 0; to < values.length; block += 18, to += 32) {
		const scale = half(table, bytes, block);
		for (let j = 0; j < 16; j++) {
			const pair = bytes[block + 2 + j]!;
			values[to + j] = scale * ((pair & 15) - 8);
			values[to + j + 16] = scale * ((pair >> 4) - 8);
		}
	}
}

function decodeQ4_1(bytes: Uint8Array, values: Float32Array): void {
	const table = f16Table();
	for (let block = 0, to = 0; to < values.length; block += 20, to += 32) {
		const scale = half(table, bytes, block);
		const least = half(table, bytes, block + 2);
		for (let j = 0; j < 16; j++) {
			const pair = bytes[block + 4 + j]!;
			values[to + j] = scale * (pair & 15) + least;
			values[to + j + 16] = scale * (pair >> 4) + least;
		}
	}
}

/** Bit j of the 32-bit word belongs to value j and is its fifth bit. */
const fifthBit = (bytes: Uint8Array, word: number, j: number) => ((bytes[word + (j >> 3)]! >> (j & 7)) & 1) << 4;

function decodeQ5_0(bytes: Uint8Array, values: Float32Array): void {
	const table = f16Table();
	for (let block = 0, to = 0; to < values.length; block += 22, to += 32) {
		const scale = half(table, bytes, block);
		for (let j = 0; j < 16; j++) {
			const pair = bytes[block + 6 + j]!;
			values[to + j] = scale * (((pair & 15) | fifthBit(bytes, block + 2, j)) - 16);
			values[to + j + 16] = scale * (((pair >> 4) | fifthBit(bytes, block + 2, j + 16)) - 16);
		}
	}
}

function decodeQ5_1(bytes: Uint8Array, values: Float32Array): void {
	const table = f16Table();
	for (let block = 0, to = 0; to < values.length; block += 24, to += 32) {
		const scale = half(table, bytes, block);
		const least = half(table, bytes, block + 2);
		for (let j = 0; j < 16; j++) {
			const pair = bytes[block + 8 + j]!;
			values[to + j] = scale * ((pair & 15) | fifthBit(bytes, block + 4, j)) + least;
			values[to + j + 16] = scale * ((pair >> 4) | fifthBit(bytes, block + 4, j + 16)) + least;
		}
	}
}

const signed = (byte: number) => (byte << 24) >> 24;

function decodeQ8_0(bytes: Uint8Array, values: Float32Array): void {
	const table = f16Table();
	for (let block = 0, to = 0; to < values.length; block += 34, to += 32) {
		const scale = half(table, bytes, block);
		for (let j = 0; j < 32; j++) values[to + j] = scale * signed(bytes[block + 2 + j]!);
	}
}

/** Eight 6-bit scales and eight 6-bit minima lie packed in 12 bytes: d, d-min, 12 bytes, then 128 bytes of nibbles. */
function decodeQ4_K(bytes: Uint8Array, values: Float32Array): void {
	const table = f16Table();
	for (let block = 0, to = 0; to < values.length; block += 144, to += 256) {
		const d = half(table, bytes, block);
		const dMin = half(table, bytes, block + 2);
		const packed = block + 4;
		for (let group = 0; group < 8; group++) {
			const scale = d * scaleOf(bytes, packed, group);
			const least = dMin * minimumOf(bytes, packed, group);
			const nibbles = block + 16 + 32 * (group >> 1);
			const shift = 4 * (group & 1);
			for (let j = 0; j < 32; j++) {
				values[to + 32 * group + j] = scale * ((bytes[nibbles + j]! >> shift) & 15) - least;
			}
		}
	}
}

const scaleOf = (bytes: Uint8Array, packed: number, group: number) =>
	group < 4
		? bytes[packed + group]! & 63
		: (bytes[packed + group + 4]! & 15) | ((bytes[packed + group - 4]! >> 6) << 4);

const minimumOf = (bytes: Uint8Array, packed: number, group: number) =>
	group < 4
		? bytes[packed + group + 4]! & 63
		: (bytes[packed + group + 4]! >> 4) | ((bytes[packed + group]! >> 6) << 4);

/** 128 bytes of low nibbles, 64 bytes of upper bit pairs, 16 signed scales, d; a half of the block has 128 values. */
function decodeQ6_K(bytes: Uint8Array, values: Float32Array): void {
	const table = f16Table();
	for (let block = 0, to = 0; to < values.length; block += 210, to += 256) {
		const d = half(table, bytes, block + 208);
		for (let part = 0; part < 8; part++) {
			const low = block + 64 * (part >> 2) + 32 * (part & 1);
			const high = block + 128 + 32 * (part >> 2);
			const nibbleShift = 4 * ((part >> 1) & 1);
			const pairShift = 2 * (part & 3);
			for (let j = 0; j < 32; j++) {
				const scale = d * signed(bytes[block + 192 + 2 * part + (j >> 4)]!);
				const q = ((bytes[low + j]! >> nibbleShift) & 15) | (((bytes[high + j]! >> pairShift) & 3) << 4);
				values[to + 32 * part + j] = scale * (q - 32);
			}
		}
	}
}
