/**
Reads GGUF files: metadata, the table of tensors, and single tensors as f32. Knows nothing of models.
*/
import {open} from 'node:fs/promises';
import {GGMLQuantizationType, gguf} from '@huggingface/gguf';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import {sizeOf} from '../../protocols/tensor.ts';
import {openBoundedFile} from './bounded-file.ts';
import {type BlockFormat, blockFormats} from './dequantize.ts';

/** Where a tensor lies; `shape` is row-major, the reverse of GGUF's own order; `[start, end)` are offsets in the file, bytes. */
export type GgufEntry = {
	readonly format: BlockFormat;
	readonly shape: readonly number[];
	readonly start: number;
	readonly end: number;
};

/** Numbers, strings, booleans and arrays of them, as the file has them; 64-bit integers become numbers. */
export type GgufMetadata = Readonly<Record<string, unknown>>;

/** An open GGUF file. */
export type GgufFile = {
	readonly path: string;
	readonly metadata: GgufMetadata;
	readonly entries: ReadonlyMap<string, GgufEntry>;
	/** The de-quantised values in the file's order; throws `weights-invalid` for a name that is not there. */
	readF32(name: string): Promise<Float32Array>;
	close(): Promise<void>;
};

/** Opens a GGUF file; throws `weights-invalid` for a torn or lying file, `model-unsupported` for a tensor type not read here. */
export async function openGguf(path: string): Promise<GgufFile> {
	const file = await openBoundedFile(path);
	try {
		const {metadata, tensorInfos, dataStart} = await parse(path, file.size);
		const entries = new Map<string, GgufEntry>();
		for (const info of tensorInfos) {
			entries.set(info.name, entryOf({...info, path, fileSize: file.size, dataStart}));
		}
		checkOverlap(path, entries);
		return {
			path,
			metadata,
			entries,
			async readF32(name) {
				const entry = entries.get(name);
				if (!entry) throw new CutlayerError('weights-invalid', `${path} has no tensor \`${name}\`; get the file again`);
				const values = new Float32Array(sizeOf(entry.shape));
				entry.format.decode(await file.read(entry.start, entry.end), values);
				return values;
			},
			close: file.close,
		};
	} catch (error) {
		await file.close();
		throw error;
	}
}

/** Reads the metadata alone, for the tokenizer. */
export async function readGgufMetadata(path: string): Promise<GgufMetadata> {
	const file = await openGguf(path);
	await file.close();
	return file.metadata;
}

type TensorInfo = {
	readonly name: string;
	readonly shape: readonly bigint[];
	readonly dtype: number;
	readonly offset: bigint;
};

async function parse(path: string, fileSize: number) {
	await checkMagic(path);
	const parsed = await gguf(path, {allowLocalFile: true}).catch(error => {
		throw new CutlayerError(
			'weights-invalid',
			`${path} is not a readable GGUF file: ${errorText(error)}; get the file again`,
			{
				cause: error,
			},
		);
	});
	const {tensorDataOffset, littleEndian} = parsed;
	if (!littleEndian)
		throw new CutlayerError(
			'model-unsupported',
			`${path} is a big-endian GGUF file; expected little-endian; convert the model again`,
		);
	// The parser may read past the end of a torn file as if it were there.
	if (Number(tensorDataOffset) > fileSize) throw torn(path, Number(tensorDataOffset), fileSize);
	const metadata: Record<string, unknown> = {};
	for (const [key, value] of Object.entries(parsed.metadata))
		metadata[key] = typeof value === 'bigint' ? Number(value) : value;
	return {metadata, tensorInfos: parsed.tensorInfos as readonly TensorInfo[], dataStart: Number(tensorDataOffset)};
}

async function checkMagic(path: string): Promise<void> {
	const handle = await open(path, 'r');
	try {
		const {buffer, bytesRead} = await handle.read(Buffer.alloc(24), 0, 24, 0);
		if (bytesRead === 24 && buffer.toString('latin1', 0, 4) === 'GGUF') return;
	} finally {
		await handle.close();
	}
	throw new CutlayerError('weights-invalid', `${path} does not begin like a GGUF file; get it again`);
}

function entryOf(info: TensorInfo & {path: string; fileSize: number; dataStart: number}): GgufEntry {
	const {name, path, fileSize} = info;
	const format = blockFormats.get(info.dtype);
	if (!format) {
		const supported = [...blockFormats.values()].map(({name}) => name).join(', ');
		const found = GGMLQuantizationType[info.dtype] ?? `number ${info.dtype}`;
		throw new CutlayerError(
			'model-unsupported',
			`${path} stores \`${name}\` as ${found}, which is not supported; supported are ${supported}`,
		);
	}
	const shape = info.shape.map(Number).toReversed();
	const values = sizeOf(shape);
	if ((shape.at(-1) ?? 1) % format.blockValues !== 0) {
		throw new CutlayerError(
			'weights-invalid',
			`${path} gives \`${name}\` rows of ${shape.at(-1)} values, not whole ${format.name} blocks; get the file again`,
		);
	}
	const start = info.dataStart + Number(info.offset);
	const end = start + (values / format.blockValues) * format.blockBytes;
	if (!(end <= fileSize)) throw torn(path, end, fileSize, name);
	return {format, shape, start, end};
}

function checkOverlap(path: string, entries: ReadonlyMap<string, GgufEntry>): void {
	let reached = 0;
	for (const [name, {start, end}] of [...entries].sort(([, a], [, b]) => a.start - b.start)) {
		if (start < reached)
			throw new CutlayerError(
				'weights-invalid',
				`${path} lets tensor \`${name}\` overlap the one before it; get the file again`,
			);
		reached = end;
	}
}

const torn = (path: string, expected: number, found: number, name?: string) =>
	new CutlayerError(
		'weights-invalid',
		`${path} has ${found} bytes, but ${name ? `tensor \`${name}\`` : 'its header'} ends at byte ${expected}: it is torn; get it again`,
	);
