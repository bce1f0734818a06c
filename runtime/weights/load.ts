/**
Opens a model folder or GGUF file as a source of frozen weights with Hugging Face's names and order of rows.
*/
import {readFile, stat} from 'node:fs/promises';
import {basename, join} from 'node:path';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import {sizeOf} from '../../protocols/tensor.ts';
import type {FrozenTensor, ModelConfig, WeightSource} from '../model/config.ts';
import {hashOfFiles} from './bounded-file.ts';
import {openGguf} from './gguf.ts';
import {configFromGguf} from './gguf-config.ts';
import {configFromHf} from './hf-config.ts';
import {type WeightName, weightNames} from './names.ts';
import {openSafetensors, type SafetensorsFile} from './safetensors.ts';

/**
Opens a Hugging Face folder (`config.json` and `model.safetensors`, or shards listed in `model.safetensors.index.json`) or a
`.gguf` file. Checks that every weight of the architecture is there with its shape; values are read and checked on demand.
Throws `model-unsupported` for what cannot be computed here and `weights-invalid` for what is broken.
*/
export async function openWeights(path: string): Promise<WeightSource> {
	const status = await stat(path).catch(() => undefined);
	if (!status)
		throw new CutlayerError('weights-invalid', `There is no model at ${path}; expected a folder or a .gguf file`);
	return status.isDirectory() ? openFolder(path) : openGgufWeights(path);
}

/** What a file says of one tensor and how to get its values. */
type Stored = {readonly shape: readonly number[]; readonly read: () => Promise<Float32Array>};

async function openFolder(folder: string): Promise<WeightSource> {
	const config = configFromHf(await readJson(join(folder, 'config.json')));
	const files: SafetensorsFile[] = [];
	const close = async () => {
		await Promise.all(files.map(file => file.close()));
	};
	try {
		for (const name of await weightFileNames(folder)) files.push(await openSafetensors(join(folder, name)));
		const stored = new Map<string, Stored>();
		for (const file of files) {
			for (const [name, {shape}] of file.entries) stored.set(name, {shape, read: () => file.readF32(name)});
		}
		const modelHash = await hashOfFiles(files.map(file => file.path));
		const find = hfLookup(folder, stored, config);
		return sourceOf({path: folder, config, modelHash, find, close});
	} catch (error) {
		await close();
		throw error;
	}
}

async function openGgufWeights(path: string): Promise<WeightSource> {
	const file = await openGguf(path);
	try {
		const config = configFromGguf(file);
		const find = ({gguf, order, shape}: WeightName): Stored | undefined => {
			const entry = file.entries.get(gguf);
			if (!entry) return undefined;
			const read = () => file.readF32(gguf);
			if (order === 'transposed')
				return {shape: entry.shape.toReversed(), read: async () => transposed(await read(), entry.shape)};
			if (order !== 'interleaved') return {shape: entry.shape, read};
			return {shape: entry.shape, read: async () => uninterleaved(await read(), config.headDim, shape[1]!)};
		};
		return sourceOf({path, config, modelHash: await hashOfFiles([path]), find, close: file.close});
	} catch (error) {
		await file.close();
		throw error;
	}
}

type SourceParts = {
	readonly path: string;
	readonly config: ModelConfig;
	readonly modelHash: string;
	readonly find: (weight: WeightName) => Stored | undefined;
	readonly close: () => Promise<void>;
};

function sourceOf({path, config, modelHash, find, close}: SourceParts): WeightSource {
	const tensors = new Map<string, Stored>();
	for (const weight of weightNames(config)) {
		const stored = find(weight);
		if (!stored)
			throw new CutlayerError(
				'weights-invalid',
				`${path} has no weight \`${weight.name}\`, which its configuration asks for; get the files of one model together`,
			);
		if (String(stored.shape) !== String(weight.shape)) {
			throw new CutlayerError(
				'weights-invalid',
				`${path} has \`${weight.name}\` of shape [${stored.shape}], but its configuration asks for [${weight.shape}]; get the files of one model together`,
			);
		}
		tensors.set(weight.name, {shape: weight.shape, read: stored.read});
	}
	return {
		config,
		modelHash,
		names: [...tensors.keys()],
		async read(name): Promise<FrozenTensor> {
			const stored = tensors.get(name);
			if (!stored)
				throw new CutlayerError(
					'weights-invalid',
					`${path} has no weight \`${name}\`; get the files of one model together`,
				);
			const values = await stored.read();
			checkFinite(path, name, values);
			return {shape: stored.shape, values};
		},
		close,
	};
}

/** Finds weights with or without the prefix of the base model, and refuses weights that nothing here would use. */
function hfLookup(folder: string, stored: ReadonlyMap<string, Stored>, config: ModelConfig) {
	const prefix = config.family === 'gpt2' ? 'transformer.' : 'model.';
	const find = ({name}: {name: string}) =>
		stored.get(name) ?? (name.startsWith(prefix) ? stored.get(name.slice(prefix.length)) : undefined);
	const expected = new Set(weightNames(config).map(({name}) => name));
	for (const name of stored.keys()) {
		if (expected.has(name) || expected.has(prefix + name) || isBuffer.test(name) || name === 'lm_head.weight') continue;
		throw new CutlayerError(
			'model-unsupported',
			`${folder} has the weight \`${name}\`, which a ${config.family} model of this configuration does not use`,
		);
	}
	return find;
}

/** Constants that some checkpoints store beside the weights: causal masks and rotary frequencies. */
const isBuffer = /\.attn\.(bias|masked_bias)$|^h\.\d+\.attn\.bias$|\.rotary_emb\.inv_freq$/;

/** The names of a folder's weight files. */
async function weightFileNames(folder: string): Promise<string[]> {
	const indexPath = join(folder, 'model.safetensors.index.json');
	const hasFile = await stat(join(folder, 'model.safetensors')).catch(() => undefined);
	if (hasFile) return ['model.safetensors'];
	if (!(await stat(indexPath).catch(() => undefined))) {
		throw new CutlayerError(
			'weights-invalid',
			`${folder} has neither model.safetensors nor model.safetensors.index.json`,
		);
	}
	const index = (await readJson(indexPath)) as {weight_map?: unknown};
	const names = new Set(Object.values(typeof index?.weight_map === 'object' ? (index.weight_map ?? {}) : {}));
	for (const name of names) {
		if (typeof name !== 'string' || basename(name) !== name || !name.endsWith('.safetensors')) {
			throw new CutlayerError(
				'weights-invalid',
				`${indexPath} names ${JSON.stringify(name)}, which is not a weight file of its folder`,
			);
		}
	}
	return ([...names] as string[]).toSorted();
}

async function readJson(path: string): Promise<unknown> {
	try {
		return JSON.parse(await readFile(path, 'utf8'));
	} catch (error) {
		throw new CutlayerError('weights-invalid', `Cannot read ${path}: ${errorText(error)}`, {cause: error});
	}
}

/** A NaN or an infinity times zero is NaN, and stays it in a sum: one multiplication and addition a value. */
function checkFinite(path: string, name: string, values: Float32Array): void {
	let sum = 0;
	for (let index = 0; index < values.length; index++) sum += values[index]! * 0;
	if (sum === 0) return;
	const index = values.findIndex(value => !Number.isFinite(value));
	throw new CutlayerError(
		'weights-invalid',
		`${path} has ${values[index]} in \`${name}\` at position ${index}; get the weights again`,
	);
}

/** GGUF stores row 2j + s of a Llama head where Hugging Face has row j + s * headDim / 2; columns are the inputs. */
function uninterleaved(values: Float32Array, headDim: number, columns: number): Float32Array {
	const ordered = new Float32Array(values.length);
	const half = headDim / 2;
	for (let row = 0; row < values.length / columns; row++) {
		const within = row % headDim;
		const target = row - within + (within >> 1) + (within & 1) * half;
		ordered.set(values.subarray(row * columns, (row + 1) * columns), target * columns);
	}
	return ordered;
}

function transposed(values: Float32Array, [rows, columns]: readonly number[]): Float32Array {
	const turned = new Float32Array(sizeOf([rows!, columns!]));
	for (let row = 0; row < rows!; row++) {
		for (let column = 0; column < columns!; column++) turned[column * rows! + row] = values[row * columns! + column]!;
	}
	return turned;
}
