import {createHash} from 'node:crypto';
import {readFileSync} from 'node:fs';
import {copyFile, mkdir, readFile, truncate, writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import test from 'ava';
import {CutlayerError, type ErrorCode} from '../../protocols/errors.ts';
import {f32View, type NamedTensors, type Tensor, tensorOf} from '../../protocols/tensor.ts';
import type {WeightSource} from '../../runtime/model/config.ts';
import {openWeights} from '../../runtime/weights/load.ts';
import {readSafetensors, writeSafetensors} from '../../runtime/weights/safetensors.ts';
import {testWithModel} from '../_helpers/optional.ts';
import {smollm2Path} from '../_helpers/shared.ts';
import {golden, temporaryFolder} from './folder.ts';

const refusal = (code: ErrorCode, message: RegExp) => ({instanceOf: CutlayerError, code, message});

async function readAll(source: WeightSource): Promise<Record<string, number[]>> {
	const all: Record<string, number[]> = {};
	for (const name of source.names) all[name] = [...(await source.read(name)).values];
	await source.close();
	return all;
}

/** A folder with a changed configuration or changed tensors of a golden model. */
async function modelFolder(
	folder: string,
	model: 'tiny-gpt2' | 'tiny-llama',
	change: {config?: object; tensors?: (tensors: Record<string, Tensor>) => NamedTensors} = {},
): Promise<string> {
	const json = JSON.parse(await readFile(golden(`${model}/model/config.json`), 'utf8'));
	await writeFile(join(folder, 'config.json'), JSON.stringify({...json, ...change.config}));
	const {tensors} = await readSafetensors(golden(`${model}/model/model.safetensors`));
	await writeSafetensors(join(folder, 'model.safetensors'), change.tensors?.({...tensors}) ?? tensors);
	return folder;
}

test('a GPT-2 folder opens with its shape, hash and all its weights', async t => {
	const source = await openWeights(golden('tiny-gpt2/model'));
	t.deepEqual(source.config, {
		family: 'gpt2',
		blocks: 4,
		hidden: 64,
		heads: 4,
		kvHeads: 4,
		headDim: 16,
		ffn: 256,
		vocabulary: 512,
		context: 128,
		normEps: 1e-5,
		ropeTheta: 0,
		isHeadTied: true,
		hasQkvBias: true,
	});
	const bytes = readFileSync(golden('tiny-gpt2/model/model.safetensors'));
	t.is(source.modelHash, createHash('sha256').update(bytes).digest('hex'));
	t.is(source.names.length, 4 * 12 + 4);
	const {shape, values} = await source.read('transformer.h.0.attn.c_attn.weight');
	t.deepEqual(shape, [64, 192]);
	const start = 8 + Number(bytes.readBigUInt64LE()) + 768;
	t.is(values[0], bytes.readFloatLE(start));
	t.is(values[64 * 192 - 1], bytes.readFloatLE(start + 4 * (64 * 192 - 1)));
	await t.throwsAsync(source.read('lm_head.weight'), refusal('weights-invalid', /no weight `lm_head.weight`/));
	await source.close();
});

test('a Llama folder opens with the rotary base of either place', async t => {
	const source = await openWeights(golden('tiny-llama/model'));
	t.like(source.config, {family: 'llama', kvHeads: 2, headDim: 16, ffn: 160, ropeTheta: 10_000, hasQkvBias: false});
	t.is(source.names.length, 4 * 9 + 2);
	await source.close();
	const old = {rope_parameters: undefined, rope_theta: 500_000, rope_scaling: null};
	const folder = await modelFolder(await temporaryFolder(t), 'tiny-llama', {config: old});
	const again = await openWeights(folder);
	t.is(again.config.ropeTheta, 500_000);
	await again.close();
});

test('GPT-2 weights without the prefix and with stored masks are the same weights', async t => {
	const folder = await modelFolder(await temporaryFolder(t), 'tiny-gpt2', {
		tensors: tensors => ({
			...Object.fromEntries(
				Object.entries(tensors).map(([name, tensor]) => [name.replace('transformer.', ''), tensor]),
			),
			'h.0.attn.bias': tensorOf(new Float32Array(4), [1, 1, 2, 2]),
		}),
	});
	t.deepEqual(await readAll(await openWeights(folder)), await readAll(await openWeights(golden('tiny-gpt2/model'))));
});

test('sharded weights are the same weights, and their hash is over the shards in order of name', async t => {
	const folder = await temporaryFolder(t);
	const {tensors} = await readSafetensors(golden('tiny-llama/model/model.safetensors'));
	const shardOf = (index: number) => `model-0000${1 + (index % 2)}-of-00002.safetensors`;
	const map = Object.fromEntries(Object.keys(tensors).map((name, index) => [name, shardOf(index)]));
	for (const shard of [shardOf(0), shardOf(1)]) {
		await writeSafetensors(
			join(folder, shard),
			Object.fromEntries(Object.entries(tensors).filter(([name]) => map[name] === shard)),
		);
	}
	await copyFile(golden('tiny-llama/model/config.json'), join(folder, 'config.json'));
	await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify({weight_map: map}));
	const source = await openWeights(folder);
	const shards = [shardOf(0), shardOf(1)].map(shard => readFileSync(join(folder, shard)));
	t.is(source.modelHash, createHash('sha256').update(Buffer.concat(shards)).digest('hex'));
	t.deepEqual(await readAll(source), await readAll(await openWeights(golden('tiny-llama/model'))));
	await writeFile(join(folder, 'model.safetensors.index.json'), '{"weight_map":{"a":"../x.safetensors"}}');
	await t.throwsAsync(openWeights(folder), refusal('weights-invalid', /\.\.\/x\.safetensors/));
});

test('an untied head is one of the weights', async t => {
	const head = tensorOf(new Float32Array(512 * 64).fill(0.5), [512, 64]);
	const folder = await modelFolder(await temporaryFolder(t), 'tiny-llama', {
		config: {tie_word_embeddings: false},
		tensors: tensors => ({...tensors, 'lm_head.weight': head}),
	});
	const source = await openWeights(folder);
	t.false(source.config.isHeadTied);
	t.is((await source.read('lm_head.weight')).values[7], 0.5);
	await source.close();
});

test('Qwen2 has biases on q, k and v', async t => {
	const folder = await modelFolder(await temporaryFolder(t), 'tiny-llama', {
		config: {model_type: 'qwen2', sliding_window: 128, use_sliding_window: false},
		tensors: tensors => {
			for (const [name, {shape}] of Object.entries(tensors)) {
				if (!/[qkv]_proj/.test(name)) continue;
				tensors[name.replace('weight', 'bias')] = tensorOf(new Float32Array(shape[0]!).fill(1), [shape[0]!]);
			}
			return tensors;
		},
	});
	const source = await openWeights(folder);
	t.true(source.config.hasQkvBias);
	t.deepEqual((await source.read('model.layers.3.self_attn.k_proj.bias')).shape, [32]);
	await source.close();
});

test('what cannot be computed here is refused by its name', async t => {
	const folder = await temporaryFolder(t);
	const cases: ['tiny-gpt2' | 'tiny-llama', object, RegExp][] = [
		['tiny-llama', {model_type: 'mamba'}, /"mamba" is not supported. Supported are gpt2, llama and qwen2/],
		['tiny-llama', {hidden_act: 'gelu'}, /`hidden_act` = gelu.*expected silu/],
		['tiny-llama', {attention_bias: true}, /`attention_bias` = true/],
		['tiny-llama', {mlp_bias: true}, /`mlp_bias` = true/],
		[
			'tiny-llama',
			{rope_parameters: {rope_type: 'llama3', rope_theta: 1e4}},
			/`rope scaling` = llama3.*expected default/,
		],
		['tiny-llama', {rope_parameters: undefined, rope_scaling: {type: 'linear', factor: 2}}, /`rope scaling` = linear/],
		['tiny-llama', {partial_rotary_factor: 0.5}, /`partial_rotary_factor` = 0.5/],
		['tiny-llama', {model_type: 'qwen2', use_sliding_window: true}, /`use_sliding_window` = true/],
		['tiny-llama', {quantization_config: {quant_method: 'gptq'}}, /`quantization_config`/],
		['tiny-gpt2', {activation_function: 'relu'}, /`activation_function` = relu.*expected gelu_new/],
		['tiny-gpt2', {scale_attn_by_inverse_layer_idx: true}, /`scale_attn_by_inverse_layer_idx` = true/],
		['tiny-gpt2', {scale_attn_weights: false}, /`scale_attn_weights` = false/],
	];
	for (const [model, config, message] of cases) {
		await modelFolder(folder, model, {config});
		await t.throwsAsync(openWeights(folder), refusal('model-unsupported', message), JSON.stringify(config));
	}
	await modelFolder(folder, 'tiny-llama', {
		tensors: tensors => ({...tensors, 'model.layers.0.self_attn.q_norm.weight': tensorOf(new Float32Array(16), [16])}),
	});
	await t.throwsAsync(
		openWeights(folder),
		refusal('model-unsupported', /q_norm\.weight`, which a llama model .* does not use/),
	);
});

test('broken folders are refused in a sentence', async t => {
	const folder = await temporaryFolder(t);
	const cases: [object, RegExp][] = [
		[{hidden_size: 'wide'}, /Expected `hidden_size` .* got "wide"/],
		[{num_hidden_layers: 0}, /Expected `num_hidden_layers`/],
		[{num_hidden_layers: 5}, /has no weight `model.layers.4.input_layernorm.weight`/],
		[{num_key_value_heads: 3}, /not a multiple of 3/],
		[{head_dim: 15}, /odd/],
		[{intermediate_size: 161}, /gate_proj.weight` of shape \[160,64\], but its configuration asks for \[161,64\]/],
		[{tie_word_embeddings: false}, /has no weight `lm_head.weight`/],
		[{rms_norm_eps: -1}, /`rms_norm_eps`/],
	];
	for (const [config, message] of cases) {
		await modelFolder(folder, 'tiny-llama', {config});
		await t.throwsAsync(openWeights(folder), refusal('weights-invalid', message), JSON.stringify(config));
	}
	await modelFolder(folder, 'tiny-llama');
	await truncate(join(folder, 'model.safetensors'), 100_000);
	await t.throwsAsync(openWeights(folder), refusal('weights-invalid', /up to byte/));
	await writeFile(join(folder, 'config.json'), '{');
	await t.throwsAsync(openWeights(folder), refusal('weights-invalid', /config\.json/));
	await writeFile(join(folder, 'config.json'), '[]');
	await t.throwsAsync(openWeights(folder), refusal('weights-invalid', /not a JSON object/));
	await t.throwsAsync(openWeights(join(folder, 'none')), refusal('weights-invalid', /There is no model at/));
	await mkdir(join(folder, 'bare'));
	await copyFile(golden('tiny-llama/model/config.json'), join(folder, 'bare', 'config.json'));
	await t.throwsAsync(openWeights(join(folder, 'bare')), refusal('weights-invalid', /neither model.safetensors nor/));
});

test('a weight that is not a number is refused when it is read', async t => {
	for (const [value, found] of [
		[Number.NaN, 'NaN'],
		[Number.POSITIVE_INFINITY, 'Infinity'],
		[Number.NEGATIVE_INFINITY, '-Infinity'],
	] as const) {
		const folder = await modelFolder(await temporaryFolder(t), 'tiny-llama', {
			tensors: tensors => {
				f32View(tensors['model.layers.2.mlp.up_proj.weight']!)[77] = value;
				return tensors;
			},
		});
		const source = await openWeights(folder);
		const message = new RegExp(`has ${found} in \`model.layers.2.mlp.up_proj.weight\` at position 77`);
		await t.throwsAsync(source.read('model.layers.2.mlp.up_proj.weight'), refusal('weights-invalid', message));
		await t.notThrowsAsync(source.read('model.layers.1.mlp.up_proj.weight'));
		await source.close();
	}
});

testWithModel(
	'SmolLM2 reads from its GGUF file with the very bits of the reference decoder, in Hugging Face order',
	async t => {
		const reference = JSON.parse(readFileSync(golden('smollm2/gguf.json'), 'utf8'));
		const source = await openWeights(smollm2Path!);
		t.is(source.modelHash, reference.sha256);
		const {
			layers,
			kv_heads: kvHeads,
			head_dim: headDim,
			vocab,
			rope_theta: ropeTheta,
			rms_eps: normEps,
		} = reference.config;
		const {hidden, heads, ffn, max_pos: context} = reference.config;
		t.deepEqual(source.config, {
			family: 'llama',
			blocks: layers,
			hidden,
			heads,
			kvHeads,
			headDim,
			ffn,
			vocabulary: vocab,
			context,
			normEps,
			ropeTheta,
			isHeadTied: true,
			hasQkvBias: false,
		});
		const tensors: {hf_name: string; hf_shape: number[]; hf_sha256_f32le: string}[] = Object.values(reference.tensors);
		t.is(tensors.length, 29);
		for (const {hf_name: name, hf_shape: expected, hf_sha256_f32le: sha256} of tensors) {
			const {shape, values} = await source.read(name);
			t.deepEqual(shape, expected);
			t.is(createHash('sha256').update(new Uint8Array(values.buffer)).digest('hex'), sha256, name);
		}
		let parameters = 0;
		for (const name of source.names) parameters += (await source.read(name)).values.length;
		t.is(parameters, reference.config.params);
		await source.close();
	},
);
