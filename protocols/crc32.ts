/**
CRC-32 (the polynomial of zlib and PNG), four bytes a turn, since this folder may not ask Node for it.
*/

const tables = makeTables();

/** The checksum of some bytes, as an unsigned 32-bit number; pass the one so far to go on. */
export function crc32(bytes: Uint8Array, soFar = 0): number {
	const [t0, t1, t2, t3] = tables;
	let crc = ~soFar;
	let at = 0;
	for (; at + 4 <= bytes.length; at += 4) {
		crc ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
		crc = t3[crc & 0xff]! ^ t2[(crc >>> 8) & 0xff]! ^ t1[(crc >>> 16) & 0xff]! ^ t0[crc >>> 24]!;
	}
	for (; at < bytes.length; at++) crc = t0[(crc ^ bytes[at]!) & 0xff]! ^ (crc >>> 8);
	return ~crc >>> 0;
}

function makeTables(): readonly [Int32Array, Int32Array, Int32Array, Int32Array] {
	const first = Int32Array.from({length: 256}, (_, byte) => {
		let crc = byte;
		for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb8_8320 : crc >>> 1;
		return crc;
	});
	const next = (table: Int32Array) => table.map(crc => first[crc & 0xff]! ^ (crc >>> 8));
	const second = next(first);
	const third = next(second);
	return [first, second, third, next(third)];
}
