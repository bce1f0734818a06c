/**
Writes small GGUF files for tests, good and bad ones.
*/
import {writeFile} from 'node:fs/promises';

/** A tensor as it lies in the file; `ne` is GGUF's order of extents, `type` the number of its block format. */
export type RawTensor = {name: string; ne: number[]; type: number; bytes: Uint8Array};

type Value = string | number | boolean | string[] | number[];

/** A tensor of f32 values of a row-major shape. */
export const f32Tensor = (name: string, shape: readonly number[], values: Float32Array): RawTensor => ({
	name,
	ne: shape.toReversed(),
	type: 0,
	bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
});

/** Whole numbers are written as u32, others as f32. `offsets` replaces the honest offset of a tensor. */
export async function writeGguf(
	path: string,
	metadata: Record<string, Value>,
	tensors: readonly RawTensor[],
	offsets: Record<string, bigint> = {},
): Promise<void> {
	const parts: Buffer[] = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(Object.keys(metadata).length)];
	for (const [key, value] of Object.entries(metadata)) parts.push(text(key), ...typed(value));
	let offset = 0;
	for (const {name, ne, type, bytes} of tensors) {
		parts.push(text(name), u32(ne.length), ...ne.map(u64), u32(type), u64(offsets[name] ?? offset));
		offset += Math.ceil(bytes.length / 32) * 32;
	}
	const header = Buffer.concat(parts);
	const data = tensors.map(({bytes}) => padded(Buffer.from(bytes)));
	await writeFile(path, Buffer.concat([padded(header), ...data]));
}

const padded = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc((32 - (bytes.length % 32)) % 32)]);

function u32(value: number): Buffer {
	const bytes = Buffer.alloc(4);
	bytes.writeUInt32LE(value);
	return bytes;
}

function u64(value: number | bigint): Buffer {
	const bytes = Buffer.alloc(8);
	bytes.writeBigUInt64LE(BigInt(value));
	return bytes;
}

const text = (value: string) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);

function f32(value: number): Buffer {
	const bytes = Buffer.alloc(4);
	bytes.writeFloatLE(value);
	return bytes;
}

function typed(value: Value): Buffer[] {
	if (typeof value === 'string') return [u32(8), text(value)];
	if (typeof value === 'boolean') return [u32(7), Buffer.from([Number(value)])];
	if (typeof value === 'number') return Number.isInteger(value) ? [u32(4), u32(value)] : [u32(6), f32(value)];
	const isText = typeof value[0] === 'string';
	return [
		u32(9),
		u32(isText ? 8 : 5),
		u64(value.length),
		...value.map(item => (typeof item === 'string' ? text(item) : u32(item))),
	];
}
