/**
Reads the msgpack of a trace's records: maps, arrays, texts, numbers, true, false and nil, as `packPlain` writes them. What else
msgpack knows is left to the codec, which reads the same values several times more slowly. Pure but for what it remembers of shapes.
*/
import {unpackPlain} from '../../protocols/codec.ts';
import {nextShape, objectOf, shapeOf, withMembers} from './shapes.ts';

/** Maps with more members than this make no shape: tables of peers, which are all unlike. */
const shapeKeysMax = 40;

class NotPlain extends Error {}

const root = shapeOf([], new Uint8Array(0));

// One reading at a time, never across a wait: members of an object would cost half as much again.
let bytes: Buffer = Buffer.alloc(0);
let view: DataView = new DataView(bytes.buffer);
let place = 0;
let begin = 0;
let end = 0;
/** All bytes as Latin-1, of which texts in ASCII are parts. */
let latin: string | undefined;
/** Values of the maps that are being read, the outer below the inner. */
const values: unknown[] = Array(64).fill(undefined);
let top = 0;

/** The one value from `start` to `stop`. Throws a plain error for bytes that are no single value. */
export function readPlain(from: Buffer, start: number, stop: number): unknown {
	if (bytes !== from) {
		bytes = from;
		view = new DataView(from.buffer, from.byteOffset, from.byteLength);
	}
	place = start;
	begin = start;
	end = stop;
	latin = undefined;
	top = 0;
	try {
		const value = readValue();
		if (place !== end) throw new Error(`${end - place} bytes after the end of the value`);
		return value;
	} catch (error) {
		if (error instanceof NotPlain) return unpackPlain(from, start, stop);
		throw error;
	}
}

function readValue(): unknown {
	const byte = bytes[place++]!;
	if (byte < 0x80) return byte;
	if (byte >= 0xe0) return byte - 256;
	if (byte < 0x90) return readMap(byte & 15);
	if (byte < 0xa0) return readArray(byte & 15);
	return byte < 0xc0 ? readText(byte & 31) : readLong(byte);
}

function readLong(byte: number): unknown {
	const at = place;
	switch (byte) {
		case 0xc0:
			return null;
		case 0xc2:
			return false;
		case 0xc3:
			return true;
		case 0xca:
			place += 4;
			return view.getFloat32(at);
		case 0xcb:
			place += 8;
			return view.getFloat64(at);
		case 0xcc:
		case 0xcd:
		case 0xce:
			return readCount(1 << (byte - 0xcc));
		case 0xd0:
			place += 1;
			return view.getInt8(at);
		case 0xd1:
			place += 2;
			return view.getInt16(at);
		case 0xd2:
			place += 4;
			return view.getInt32(at);
		default:
			return readGroup(byte);
	}
}

function readGroup(byte: number): unknown {
	switch (byte) {
		case 0xd9:
		case 0xda:
		case 0xdb:
			return readText(readCount(1 << (byte - 0xd9)));
		case 0xdc:
		case 0xdd:
			return readArray(readCount(2 << (byte - 0xdc)));
		case 0xde:
		case 0xdf:
			return readMap(readCount(2 << (byte - 0xde)));
		default:
			throw new NotPlain(`byte ${byte}`);
	}
}

function readCount(length: number): number {
	const at = place;
	place += length;
	if (length === 1) return view.getUint8(at);
	return length === 2 ? view.getUint16(at) : view.getUint32(at);
}

function readText(length: number): string {
	const at = place;
	place = at + length;
	if (place > end) throw new Error('a text that goes on after the end');
	if (length < 4 ? !isAsciiShort(at, place) : !isAscii(at, place)) return bytes.toString('utf8', at, place);
	if (latin === undefined) latin = bytes.toString('latin1', begin, end);
	return latin.substring(at - begin, place - begin);
}

/** Of four bytes or more: the last four may be looked at twice. */
function isAscii(from: number, to: number): boolean {
	const last = to - 4;
	let bits = view.getInt32(last);
	for (let at = from; at < last; at += 4) bits |= view.getInt32(at);
	return (bits & 0x8080_8080) === 0;
}

function isAsciiShort(from: number, to: number): boolean {
	let bits = 0;
	for (let at = from; at < to; at++) bits |= bytes[at]!;
	return bits < 0x80;
}

function readArray(count: number): unknown[] {
	if (count > end - place) throw new Error('an array that goes on after the end');
	const items: unknown[] = new Array(count);
	for (let index = 0; index < count; index++) items[index] = readValue();
	return items;
}

function readMap(count: number): object {
	if (count > shapeKeysMax) return readTable(count, [], top);
	const base = top;
	let shape = root;
	for (let index = 0; index < count; index++) {
		const byte = bytes[place]!;
		const length = byte & 31;
		const next = byte >= 0xa0 && byte < 0xc0 ? nextShape(shape, view, place + 1, length) : undefined;
		if (next === undefined) return readTable(count, shape.keys, base);
		shape = next;
		place += 1 + length;
		const value = readValue();
		values[top++] = value;
	}
	top = base;
	return objectOf(shape, values, base);
}

/** A map whose members are added one by one; the first of them, with these keys, were read already. */
function readTable(count: number, keys: readonly string[], base: number): object {
	if (count - keys.length > end - place) throw new Error('a map that goes on after the end');
	const table = withMembers({}, keys, values, base);
	top = base;
	for (let index = keys.length; index < count; index++) {
		const key = readText(readKeyLength());
		if (key === '__proto__') throw new NotPlain(key);
		table[key] = readValue();
	}
	return table;
}

function readKeyLength(): number {
	const byte = bytes[place++]!;
	if (byte >= 0xa0 && byte < 0xc0) return byte & 31;
	if (byte === 0xd9) return readCount(1);
	throw new NotPlain(`byte ${byte} where a key begins`);
}
