/**
Reads and writes safetensors files. The header is checked whole before anything is believed; tensors are read on demand.
Never allocates more than the file's size, whatever its header says.
*/
import {randomBytes} from 'node:crypto';
import {open, rename, rm} from 'node:fs/promises';
import {CutlayerError} from '../../protocols/errors.ts';
import type {Dtype, NamedTensors, Tensor} from '../../protocols/tensor.ts';
import {type BoundedFile, openBoundedFile} from './bounded-file.ts';
import {bf16ToF32, f16ToF32} from './half.ts';

const bytesPerValue = {F32: 4, F16: 2, BF16: 2, I32: 4, I64: 8} as const;
const dtypeOf = {F32: 'f32', F16: 'f16', BF16: 'bf16', I32: 'i32', I64: 'i32'} as const;
const storedDtypeOf: Partial<Record<Dtype, StoredDtype>> = {f32: 'F32', f16: 'F16', bf16: 'BF16', i32: 'I32'};

/** The dtypes that are read; others are refused by name. */
export type StoredDtype = keyof typeof bytesPerValue;

/** Where a tensor lies: `[start, end)` are offsets in the file, bytes. */
export type SafetensorsEntry = {
	readonly dtype: StoredDtype;
	readonly shape: readonly number[];
	readonly start: number;
	readonly end: number;
};

/** An open safetensors file. All reads throw `weights-invalid` for a name that is not there. */
export type SafetensorsFile = {
	readonly path: string;
	readonly metadata: Readonly<Record<string, string>>;
	readonly entries: ReadonlyMap<string, SafetensorsEntry>;
	/** The tensor as stored; I64 becomes `i32`, or throws when a value does not fit. */
	read(name: string): Promise<Tensor>;
	/** The values of an F32, F16 or BF16 tensor; integers are refused. */
	readF32(name: string): Promise<Float32Array>;
	close(): Promise<void>;
};

/** Opens a safetensors file and checks its header; throws `weights-invalid` with the first thing that is wrong. */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
	const file = await openBoundedFile(path);
	try {
		const {entries, metadata} = await readHeader(file);
		return {path, metadata, entries, ...readersOf(file, entries), close: file.close};
	} catch (error) {
		await file.close();
		throw error;
	}
}

/** Reads all tensors of a small file, such as an adapter. */
export async function readSafetensors(
	path: string,
): Promise<{tensors: NamedTensors; metadata: Record<string, string>}> {
	const file = await openSafetensors(path);
	try {
		const tensors: Record<string, Tensor> = {};
		for (const name of file.entries.keys()) tensors[name] = await file.read(name);
		return {tensors, metadata: {...file.metadata}};
	} finally {
		await file.close();
	}
}

/**
Writes tensors in order of their names, atomically: a reader sees the old file or the whole new one, also after a power cut.
`i8` has no counterpart in the format and is refused.
*/
export async function writeSafetensors(
	path: string,
	tensors: NamedTensors,
	metadata: Readonly<Record<string, string>> = {format: 'pt'},
): Promise<void> {
	const names = Object.keys(tensors).toSorted();
	const header: Record<string, unknown> = {__metadata__: metadata};
	let offset = 0;
	for (const name of names) {
		const {dtype, shape, bytes} = tensors[name]!;
		const stored = storedDtypeOf[dtype];
		if (!stored) throw new Error(`A safetensors file cannot hold the ${dtype} tensor ${name}`);
		header[name] = {dtype: stored, shape, data_offsets: [offset, offset + bytes.byteLength]};
		offset += bytes.byteLength;
	}
	const text = Buffer.from(JSON.stringify(header));
	const padded = Buffer.alloc(Math.ceil(text.length / 8) * 8, ' ');
	text.copy(padded);
	const length = Buffer.alloc(8);
	length.writeBigUInt64LE(BigInt(padded.length));
	await writeAtomically(path, [length, padded, ...names.map(name => tensors[name]!.bytes)]);
}

/** Writes the parts to a temporary file beside `path`, makes it durable and puts it in place. */
export async function writeAtomically(path: string, parts: readonly Uint8Array[]): Promise<void> {
	const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
	try {
		const handle = await open(temporary, 'wx');
		try {
			for (const part of parts) await handle.writeFile(part);
			await handle.sync();
		} finally {
			await handle.close();
		}
		await rename(temporary, path);
	} catch (error) {
		await rm(temporary, {force: true});
		throw new CutlayerError('disk', `Cannot write ${path}: ${(error as Error).message}`, {cause: error});
	}
}

type Header = {entries: Map<string, SafetensorsEntry>; metadata: Record<string, string>};

async function readHeader(file: BoundedFile): Promise<Header> {
	if (file.size < 10) throw invalid(file, `has ${file.size} bytes, too few for a safetensors header`);
	const length = Buffer.from(await file.read(0, 8)).readBigUInt64LE();
	if (length > BigInt(file.size - 8)) {
		throw invalid(file, `says its header has ${length} bytes, but the file has ${file.size}`);
	}
	const dataStart = 8 + Number(length);
	const parsed = parseHeader(file, await file.read(8, dataStart));
	const metadata: Record<string, string> = {};
	const entries = new Map<string, SafetensorsEntry>();
	for (const [name, value] of Object.entries(parsed)) {
		if (name === '__metadata__') Object.assign(metadata, metadataOf(file, value));
		else entries.set(name, entryOf(file, name, value, dataStart));
	}
	checkCoverage(file, entries, dataStart);
	return {entries, metadata};
}

function parseHeader(file: BoundedFile, bytes: Uint8Array): object {
	try {
		const parsed: unknown = JSON.parse(new TextDecoder('utf-8', {fatal: true}).decode(bytes));
		if (isObject(parsed)) return parsed;
	} catch (error) {
		throw invalid(file, `has a header that is not JSON (${(error as Error).message})`);
	}
	throw invalid(file, 'has a header that is not a JSON object');
}

function metadataOf(file: BoundedFile, value: unknown): object {
	if (isObject(value) && Object.values(value).every(text => typeof text === 'string')) return value;
	throw invalid(file, 'has a `__metadata__` that is not an object of strings');
}

function entryOf(file: BoundedFile, name: string, value: unknown, dataStart: number): SafetensorsEntry {
	const {dtype, shape, data_offsets: offsets} = (isObject(value) ? value : {}) as Record<string, unknown>;
	if (typeof dtype !== 'string' || !Object.hasOwn(bytesPerValue, dtype)) {
		throw invalid(
			file,
			`has tensor \`${name}\` of dtype ${String(dtype)}; supported are ${Object.keys(bytesPerValue).join(', ')}`,
		);
	}
	if (!isCounts(shape) || !isCounts(offsets) || offsets.length !== 2) {
		throw invalid(file, `describes tensor \`${name}\` without a shape and two offsets that are whole numbers`);
	}
	const [from, to] = offsets as [number, number];
	const bytes = shape.reduce((product, extent) => product * extent, bytesPerValue[dtype as StoredDtype]);
	if (to - from !== bytes) {
		throw invalid(file, `gives tensor \`${name}\` ${to - from} bytes, but ${dtype} of shape [${shape}] needs ${bytes}`);
	}
	if (dataStart + to > file.size) {
		throw invalid(file, `puts tensor \`${name}\` up to byte ${dataStart + to}, but the file has ${file.size}`);
	}
	return {dtype: dtype as StoredDtype, shape, start: dataStart + from, end: dataStart + to};
}

/** The format allows neither overlaps nor holes; both come from torn or forged files. */
function checkCoverage(file: BoundedFile, entries: ReadonlyMap<string, SafetensorsEntry>, dataStart: number): void {
	let reached = dataStart;
	for (const [name, {start, end}] of [...entries].sort(([, a], [, b]) => a.start - b.start || a.end - b.end)) {
		if (start < reached) throw invalid(file, `lets tensor \`${name}\` overlap the one before it`);
		if (start > reached) throw invalid(file, `leaves ${start - reached} bytes unused before tensor \`${name}\``);
		reached = end;
	}
	if (reached !== file.size) throw invalid(file, `has ${file.size - reached} bytes after its last tensor`);
}

function readersOf(file: BoundedFile, entries: ReadonlyMap<string, SafetensorsEntry>) {
	const entry = (name: string) => {
		const found = entries.get(name);
		if (!found) throw invalid(file, `has no tensor \`${name}\``);
		return found;
	};
	return {
		async read(name: string): Promise<Tensor> {
			const {dtype, shape, start, end} = entry(name);
			const bytes = await file.read(start, end);
			return {dtype: dtypeOf[dtype], shape, bytes: dtype === 'I64' ? narrowed(file, name, bytes) : bytes};
		},
		async readF32(name: string): Promise<Float32Array> {
			const {dtype, start, end} = entry(name);
			if (dtype === 'I32' || dtype === 'I64') {
				throw invalid(file, `has tensor \`${name}\` of dtype ${dtype}; expected F32, F16 or BF16`);
			}
			const bytes = await file.read(start, end);
			if (dtype === 'F32') return new Float32Array(bytes.buffer);
			return dtype === 'F16' ? f16ToF32(bytes) : bf16ToF32(bytes);
		},
	};
}

function narrowed(file: BoundedFile, name: string, bytes: Uint8Array): Uint8Array {
	const wide = new BigInt64Array(bytes.buffer);
	const values = Int32Array.from(wide, Number);
	if (values.some((value, index) => BigInt(value) !== wide[index])) {
		throw invalid(file, `has tensor \`${name}\` with values beyond 32 bits`);
	}
	return new Uint8Array(values.buffer);
}

const isObject = (value: unknown): value is object =>
	typeof value === 'object' && value !== null && !Array.isArray(value);

const isCounts = (value: unknown): value is number[] =>
	Array.isArray(value) && value.every(count => Number.isSafeInteger(count) && count >= 0);

const invalid = (file: BoundedFile, complaint: string) =>
	new CutlayerError('weights-invalid', `${file.path} ${complaint}`);
