/**
CRC-32 (the polynomial of zlib and PNG), eight bytes a turn, since this folder may not ask Node for it.
*/

/** For each of eight places in a turn what its byte adds: table `n` holds the effect of a byte `n` places before the end. */
const tables = makeTables();

/** The checksum of some bytes, as an unsigned 32-bit number; pass the one so far to go on. */
export function crc32(bytes: Uint8Array, soFar = 0): number {
	if (bytes.length < 16) return ~byByte(bytes, 0, bytes.length, ~soFar) >>> 0;
	const headLength = -bytes.byteOffset & 3;
	const words = new Int32Array(bytes.buffer, bytes.byteOffset + headLength, ((bytes.length - headLength) >> 3) << 1);
	let crc = byByte(bytes, 0, headLength, ~soFar);
	for (let at = 0; at < words.length; at += 2) {
		const first = crc ^ words[at]!;
		const second = words[at + 1]!;
		crc =
			tables[1792 + (first & 255)]! ^
			tables[1536 + ((first >>> 8) & 255)]! ^
			tables[1280 + ((first >>> 16) & 255)]! ^
			tables[1024 + (first >>> 24)]! ^
			tables[768 + (second & 255)]! ^
			tables[512 + ((second >>> 8) & 255)]! ^
			tables[256 + ((second >>> 16) & 255)]! ^
			tables[second >>> 24]!;
	}
	return ~byByte(bytes, headLength + 4 * words.length, bytes.length, crc) >>> 0;
}

function byByte(bytes: Uint8Array, from: number, to: number, start: number): number {
	let crc = start;
	for (let at = from; at < to; at++) crc = tables[(crc ^ bytes[at]!) & 255]! ^ (crc >>> 8);
	return crc;
}

function makeTables(): Int32Array {
	const all = new Int32Array(8 * 256);
	for (let byte = 0; byte < 256; byte++) {
		let crc = byte;
		for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb8_8320 : crc >>> 1;
		all[byte] = crc;
	}
	for (let at = 256; at < all.length; at++) all[at] = all[all[at - 256]! & 255]! ^ (all[at - 256]! >>> 8);
	return all;
}
