import {readFileSync} from 'node:fs';
import {copyFile, readFile, truncate, writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import {CutlayerError, type ErrorCode} from '../../protocols/errors.ts';
import {f32View, type NamedTensors, type Tensor, tensorOf} from '../../protocols/tensor.ts';
import {openGguf} from '../../runtime/weights/gguf.ts';
import {openWeights} from '../../runtime/weights/load.ts';
import {readSafetensors} from '../../runtime/weights/safetensors.ts';
import {golden, temporaryFolder} from './folder.ts';
import {f32Tensor, type RawTensor, writeGguf} from './gguf-writer.ts';

const refusal = (code: ErrorCode, message: RegExp) => ({instanceOf: CutlayerError, code, message});

const {names: nameTables} = JSON.parse(readFileSync(golden('gguf/names.json'), 'utf8')) as {
	names: Record<'gpt2' | 'llama' | 'qwen2', Record<string, string>>;
};

/** The name of the reference's own table; block 1 stands for all others. */
function ggufName(model: 'gpt2' | 'llama' | 'qwen2', name: string): string {
	const [, block] = /\.(\d+)\./.exec(name) ?? [];
	const suffix = name.slice(name.lastIndexOf('.'));
	const module = name.slice(0, name.lastIndexOf('.')).replace(/\.\d+\./, '.1.');
	return nameTables[model][module]!.replace(/\.1\./, `.${block}.`) + suffix;
}

/** Row order of converters: within a head, [2, half] becomes [half, 2]. */
function interleaved({shape, bytes}: Tensor, headDim: number): Tensor {
	const [rows, columns] = shape as [number, number];
	const values = f32View({dtype: 'f32', shape, bytes});
	const moved = new Float32Array(values.length);
	let target = 0;
	for (let head = 0; head < rows / headDim; head++) {
		for (let pair = 0; pair < headDim / 2; pair++) {
			for (let side = 0; side < 2; side++, target++) {
				const row = head * headDim + side * (headDim / 2) + pair;
				moved.set(values.subarray(row * columns, (row + 1) * columns), target * columns);
			}
		}
	}
	return tensorOf(moved, shape);
}

function transposed({shape, bytes}: Tensor): Tensor {
	const [rows, columns] = shape as [number, number];
	const values = f32View({dtype: 'f32', shape, bytes});
	return tensorOf(
		Float32Array.from(values, (_, index) => values[(index % rows) * columns + Math.floor(index / rows)]!),
		[columns, rows],
	);
}

const toRaw = (name: string, {shape, bytes}: Tensor): RawTensor =>
	f32Tensor(name, shape, f32View({dtype: 'f32', shape, bytes}));

const llamaMetadata = (architecture: 'llama' | 'qwen2') => ({
	'general.architecture': architecture,
	[`${architecture}.block_count`]: 4,
	[`${architecture}.context_length`]: 128,
	[`${architecture}.embedding_length`]: 64,
	[`${architecture}.feed_forward_length`]: 160,
	[`${architecture}.attention.head_count`]: 4,
	[`${architecture}.attention.head_count_kv`]: 2,
	[`${architecture}.rope.freq_base`]: 10_000,
	[`${architecture}.attention.layer_norm_rms_epsilon`]: 1e-5,
});

const gpt2Metadata = {
	'general.architecture': 'gpt2',
	'gpt2.block_count': 4,
	'gpt2.context_length': 128,
	'gpt2.embedding_length': 64,
	'gpt2.feed_forward_length': 256,
	'gpt2.attention.head_count': 4,
	'gpt2.attention.layer_norm_epsilon': 1e-5,
};

async function hfTensors(model: 'tiny-gpt2' | 'tiny-llama'): Promise<NamedTensors> {
	return (await readSafetensors(golden(`${model}/model/model.safetensors`))).tensors;
}

const llamaRaw = (tensors: NamedTensors): RawTensor[] =>
	Object.entries(tensors).map(([name, tensor]) =>
		toRaw(ggufName('llama', name), /[qk]_proj/.test(name) ? interleaved(tensor, 16) : tensor),
	);

test('a Llama GGUF file gives the weights of the folder it was made from', async t => {
	const path = join(await temporaryFolder(t), 'x.gguf');
	const tensors = await hfTensors('tiny-llama');
	await writeGguf(path, llamaMetadata('llama'), llamaRaw(tensors));
	const source = await openWeights(path);
	const folder = await openWeights(golden('tiny-llama/model'));
	t.deepEqual({...source.config, normEps: 1e-5}, folder.config);
	t.is(source.config.normEps, Math.fround(1e-5));
	t.deepEqual(source.names, folder.names);
	for (const name of source.names) t.deepEqual(await source.read(name), await folder.read(name), name);
	await source.close();
	await folder.close();
});

test('a GPT-2 GGUF file gives the weights of the folder it was made from', async t => {
	const path = join(await temporaryFolder(t), 'x.gguf');
	const raw = Object.entries(await hfTensors('tiny-gpt2')).map(([name, tensor]) =>
		toRaw(ggufName('gpt2', name), /\.(attn|mlp)\..*weight$/.test(name) ? transposed(tensor) : tensor),
	);
	await writeGguf(path, gpt2Metadata, raw);
	const source = await openWeights(path);
	const folder = await openWeights(golden('tiny-gpt2/model'));
	t.deepEqual({...source.config, normEps: 1e-5}, folder.config);
	for (const name of folder.names) t.deepEqual(await source.read(name), await folder.read(name), name);
	await source.close();
	await folder.close();
});

test('a Qwen2 GGUF file keeps the order of rows and has biases', async t => {
	const path = join(await temporaryFolder(t), 'x.gguf');
	const tensors: Record<string, Tensor> = {...(await hfTensors('tiny-llama'))};
	for (const [name, {shape}] of Object.entries(tensors)) {
		if (!/[qkv]_proj/.test(name)) continue;
		tensors[name.replace('weight', 'bias')] = tensorOf(
			Float32Array.from({length: shape[0]!}, (_, i) => i),
			[shape[0]!],
		);
	}
	tensors['lm_head.weight'] = tensorOf(new Float32Array(512 * 64).fill(2), [512, 64]);
	await writeGguf(
		path,
		llamaMetadata('qwen2'),
		Object.entries(tensors).map(([name, tensor]) => toRaw(ggufName('qwen2', name), tensor)),
	);
	const source = await openWeights(path);
	t.true(source.config.hasQkvBias);
	t.false(source.config.isHeadTied);
	for (const [name, tensor] of Object.entries(tensors))
		t.deepEqual((await source.read(name)).values, f32View(tensor), name);
	await source.close();
});

test('the metadata and shapes of another writer are read', async t => {
	const file = await openGguf(golden('gguf/blocks.gguf'));
	t.like(file.metadata, {'general.architecture': 'llama', 'test.text': 'naïve — 日本語', 'test.numbers': [1, 2, 3]});
	t.deepEqual(file.entries.get('q6_k')?.shape, [3, 512]);
	await t.throwsAsync(file.readF32('none'), refusal('weights-invalid', /no tensor `none`/));
	await file.close();
});

test('what cannot be computed here is refused by its name', async t => {
	const path = join(await temporaryFolder(t), 'x.gguf');
	const raw = llamaRaw(await hfTensors('tiny-llama'));
	const cases: [Record<string, string | number>, RegExp][] = [
		[{'general.architecture': 'gemma'}, /architecture "gemma" is not supported. Supported are gpt2, llama and qwen2/],
		[{'llama.rope.scaling.type': 'yarn'}, /`llama.rope.scaling.type` = yarn/],
		[{'llama.rope.dimension_count': 8}, /`llama.rope.dimension_count` = 8.*expected 16/],
		[{'llama.expert_count': 8}, /`llama.expert_count` = 8/],
	];
	for (const [extra, message] of cases) {
		await writeGguf(path, {...llamaMetadata('llama'), ...extra}, raw);
		await t.throwsAsync(openWeights(path), refusal('model-unsupported', message));
	}
	await writeGguf(path, llamaMetadata('llama'), [...raw, f32Tensor('rope_freqs.weight', [8], new Float32Array(8))]);
	await t.throwsAsync(openWeights(path), refusal('model-unsupported', /rope_freqs/));
	await writeGguf(path, llamaMetadata('llama'), [{name: 'x', ne: [256], type: 10, bytes: new Uint8Array(84)}]);
	await t.throwsAsync(openWeights(path), refusal('model-unsupported', /stores `x` as Q2_K, .* supported are F32, F16/));
});

test('lying and torn files are refused in a sentence', async t => {
	const path = join(await temporaryFolder(t), 'x.gguf');
	const metadata = llamaMetadata('llama');
	const a = f32Tensor('a', [8], new Float32Array(8));
	const b = f32Tensor('b', [8], new Float32Array(8));
	await writeGguf(path, metadata, [a, b], {b: 8n});
	await t.throwsAsync(openGguf(path), refusal('weights-invalid', /`b` overlap/));
	await writeGguf(path, metadata, [a, b], {b: 1n << 60n});
	await t.throwsAsync(openGguf(path), refusal('weights-invalid', /`b` ends at byte/));
	await writeGguf(path, metadata, [{...a, ne: [1e6, 1e6]}]);
	await t.throwsAsync(openGguf(path), refusal('weights-invalid', /`a` ends at byte/));
	await writeGguf(path, metadata, [{...a, ne: [16], type: 8}]);
	await t.throwsAsync(openGguf(path), refusal('weights-invalid', /rows of 16 values, not whole Q8_0 blocks/));
	await writeGguf(path, {...metadata, 'llama.block_count': 'many'}, [a]);
	await t.throwsAsync(openWeights(path), refusal('weights-invalid', /`llama.block_count` .* got "many"/));
	await writeFile(path, 'GGML is not GGUF, by one letter');
	await t.throwsAsync(openGguf(path), refusal('weights-invalid', /does not begin like a GGUF file/));
	const {length} = await readFile(golden('gguf/blocks.gguf'));
	for (const keep of [0, 3, 23, 24, 60, 200, 500, 1000, 1500, 5000, length - 1024]) {
		await copyFile(golden('gguf/blocks.gguf'), path);
		await truncate(path, keep);
		await t.throwsAsync(openGguf(path), refusal('weights-invalid', /./), `cut at ${keep}`);
	}
});

test('a file with any one header byte changed opens or is refused, and reads nothing that the file has not', async t => {
	const path = join(await temporaryFolder(t), 'x.gguf');
	const bytes = await readFile(golden('gguf/blocks.gguf'));
	const headerEnd = 800;
	const property = fc.asyncProperty(fc.nat(headerEnd), fc.integer({min: 1, max: 255}), async (at, change) => {
		const mutated = Buffer.from(bytes);
		mutated[at]! ^= change;
		await writeFile(path, mutated);
		try {
			const file = await openGguf(path);
			let decoded = 0;
			for (const name of file.entries.keys()) decoded += (await file.readF32(name)).length;
			await file.close();
			// four bits a value are the least of all formats
			if (decoded > 2 * bytes.length) throw new Error(`Decoded ${decoded} values of ${bytes.length} bytes`);
		} catch (error) {
			if (!(error instanceof CutlayerError)) throw error;
		}
	});
	await fc.assert(property, {numRuns: 300});
	t.pass();
});
