import {readFileSync} from 'node:fs';
import {mkdir, readdir, readFile, writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import test from 'ava';
import {CutlayerError, type ErrorCode} from '../../protocols/errors.ts';
import {f32View, type NamedTensors, tensorOf} from '../../protocols/tensor.ts';
import type {LoraSpec, Projection} from '../../runtime/model/lora.ts';
import {randomStream} from '../../runtime/random.ts';
import {configFromHf} from '../../runtime/weights/hf-config.ts';
import {loadAdapter, saveAdapter} from '../../runtime/weights/peft.ts';
import {readSafetensors, writeSafetensors} from '../../runtime/weights/safetensors.ts';
import {golden, temporaryFolder} from './folder.ts';

const refusal = (code: ErrorCode, message: RegExp) => ({instanceOf: CutlayerError, code, message});
const configOf = (model: string) =>
	configFromHf(JSON.parse(readFileSync(golden(`${model}/model/config.json`), 'utf8')));
const llama = configOf('tiny-llama');
const gpt2 = configOf('tiny-gpt2');
const smollm2 = {
	...llama,
	blocks: 30,
	hidden: 576,
	heads: 9,
	kvHeads: 3,
	headDim: 64,
	ffn: 1536,
	vocabulary: 49_152,
	context: 8192,
};
const plain: LoraSpec = {rank: 4, alpha: 16, targets: ['q', 'v'], dropout: 0, isRankStabilised: false};

/** The golden's names (`layers.0.self_attn.q_proj.lora_A`) as ours. */
const ownName = (name: string) =>
	name.replace(
		/^(?:h|layers)\.(\d+)\.(?:self_attn|attn)\.(\w+)\.lora_([AB])$/,
		(_, block, module: string, side) => `block.${block}.${module === 'c_attn' ? 'qkv' : module[0]}.${side}`,
	);

async function goldenAdapter(path: string): Promise<NamedTensors> {
	const {tensors} = await readSafetensors(golden(path));
	return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [ownName(name), tensor]));
}

/** PEFT keeps target modules as a set and writes them in any order. */
const sorted = (value: unknown) => (Array.isArray(value) ? value.toSorted() : value);

/** Random factors for the blocks and projections. */
function randomAdapter(widths: Record<string, [number, number]>, blocks: number[], rank: number): NamedTensors {
	const random = randomStream('peft test');
	const values = (count: number) => Float32Array.from({length: count}, () => random.normal());
	const entries = blocks.flatMap(block =>
		Object.entries(widths).flatMap(([target, [inputs, outputs]]) => [
			[`block.${block}.${target}.A`, tensorOf(values(rank * inputs), [rank, inputs])],
			[`block.${block}.${target}.B`, tensorOf(values(rank * outputs), [outputs, rank])],
		]),
	);
	return Object.fromEntries(entries);
}

test("PEFT's own folder of a Llama adapter reads as the golden tensors", async t => {
	const {tensors, spec, baseModel} = await loadAdapter(golden('tiny-llama/peft_adapter'), llama);
	t.deepEqual(tensors, await goldenAdapter('tiny-llama/lora.safetensors'));
	t.deepEqual({...spec, targets: spec.targets.toSorted()}, plain);
	t.is(baseModel, 'tiny-llama');
});

test("PEFT's own folder of a fused GPT-2 adapter reads as the golden tensors", async t => {
	const {tensors, spec} = await loadAdapter(golden('tiny-gpt2/peft_adapter_fused'), gpt2);
	t.deepEqual(tensors, await goldenAdapter('tiny-gpt2/lora_fused.safetensors'));
	t.deepEqual(spec, {...plain, targets: ['qkv']});
});

test("PEFT's own folder of a trained SmolLM2 adapter has the frozen A of its start in shape and name", async t => {
	const {tensors, spec} = await loadAdapter(golden('smollm2/adapter_step20'), smollm2);
	t.is(spec.alpha, 32);
	t.is(spec.rank, 4);
	t.is(Object.keys(tensors).length, 30 * 4);
	t.deepEqual(tensors['block.29.v.B']?.shape, [192, 4]);
	const first = f32View(tensors['block.0.q.A']!);
	const {tensors: start} = await readSafetensors(golden('smollm2/lora_init.safetensors'));
	const name = Object.keys(start).find(key => /layers\.0\.self_attn\.q_proj\.lora_A/.test(key))!;
	const moved = f32View(start[name]!).reduce(
		(most, value, index) => Math.max(most, Math.abs(value - first[index]!)),
		0,
	);
	t.true(moved > 0 && moved < 20 * 2e-4 * 1.5, `moved by ${moved}`);
});

for (const [model, config, path] of [
	['tiny-llama', llama, 'tiny-llama/peft_adapter'],
	['tiny-gpt2', gpt2, 'tiny-gpt2/peft_adapter_fused'],
	['SmolLM2', smollm2, 'smollm2/adapter_step20'],
] as const) {
	test(`the ${model} adapter is written as PEFT wrote it: the same tensors and the same meaning`, async t => {
		const folder = join(await temporaryFolder(t), 'adapter');
		const {tensors, spec, baseModel} = await loadAdapter(golden(path), config);
		await saveAdapter(folder, tensors, {config, spec, baseModel});
		const ours = await readSafetensors(join(folder, 'adapter_model.safetensors'));
		const theirs = await readSafetensors(golden(`${path}/adapter_model.safetensors`));
		t.deepEqual(ours, theirs);
		const written = JSON.parse(await readFile(join(folder, 'adapter_config.json'), 'utf8'));
		const reference = JSON.parse(await readFile(golden(`${path}/adapter_config.json`), 'utf8'));
		for (const [key, value] of Object.entries(written)) t.deepEqual(sorted(value), sorted(reference[key]), key);
		// what PEFT writes beyond our keys is off
		for (const key of Object.keys(reference).filter(key => !(key in written))) {
			const isDefault =
				[null, false, 'megatron.core', 16].includes(reference[key]) || String(reference[key]) === '[object Object]';
			t.true(isDefault || key === 'peft_version', key);
		}
		t.deepEqual((await readdir(folder)).toSorted(), ['adapter_config.json', 'adapter_model.safetensors']);
	});
}

test('GPT-2 adapters of q and v apart are the same function as one adapter of c_attn, and come back exactly', async t => {
	const folder = await temporaryFolder(t);
	const adapter = await goldenAdapter('tiny-gpt2/lora_qv.safetensors');
	await saveAdapter(folder, adapter, {config: gpt2, spec: plain, baseModel: 'tiny-gpt2'});
	const again = await loadAdapter(folder, gpt2);
	t.deepEqual(again.tensors, adapter);
	t.deepEqual(again.spec, plain);
	const json = JSON.parse(await readFile(join(folder, 'adapter_config.json'), 'utf8'));
	t.like(json, {r: 8, lora_alpha: 32, target_modules: ['c_attn'], fan_in_fan_out: true, rank_pattern: {}});
	const {tensors} = await readSafetensors(join(folder, 'adapter_model.safetensors'));
	const stem = 'base_model.model.transformer.h.2.attn.c_attn';
	const fusedA = f32View(tensors[`${stem}.lora_A.weight`]!); // [8, 64]
	const fusedB = f32View(tensors[`${stem}.lora_B.weight`]!); // [192, 8]
	const part = (name: 'q' | 'v', row: number, column: number) => {
		const a = f32View(adapter[`block.2.${name}.A`]!);
		const b = f32View(adapter[`block.2.${name}.B`]!);
		return [0, 1, 2, 3].reduce((sum, r) => sum + b[row * 4 + r]! * a[r * 64 + column]!, 0);
	};
	for (const [output, column] of [
		[0, 0],
		[63, 5],
		[64, 1],
		[100, 63],
		[128, 0],
		[191, 63],
	] as const) {
		const product = [0, 1, 2, 3, 4, 5, 6, 7].reduce(
			(sum, r) => sum + fusedB[output * 8 + r]! * fusedA[r * 64 + column]!,
			0,
		);
		const expected = output < 64 ? part('q', output, column) : output < 128 ? 0 : part('v', output - 128, column);
		t.is(product, expected);
	}
});

test('rank-stabilised, partial and mixed adapters come back exactly', async t => {
	const root = await temporaryFolder(t);
	const everyLlama: Record<string, [number, number]> = {
		q: [64, 64],
		k: [64, 32],
		v: [64, 32],
		o: [64, 64],
		gate: [64, 160],
		up: [64, 160],
		down: [160, 64],
	};
	const everyGpt2: Record<string, [number, number]> = {
		q: [64, 64],
		k: [64, 64],
		v: [64, 64],
		o: [64, 64],
		up: [64, 256],
		down: [256, 64],
	};
	const cases = [
		{
			config: llama,
			widths: everyLlama,
			blocks: [0, 1, 2, 3],
			spec: {rank: 3, alpha: 6, dropout: 0.1, isRankStabilised: true},
		},
		{
			config: llama,
			widths: everyLlama,
			blocks: [2, 3],
			spec: {rank: 2, alpha: 4.5, dropout: 0, isRankStabilised: false},
		},
		{config: gpt2, widths: everyGpt2, blocks: [0], spec: {rank: 2, alpha: 16, dropout: 0, isRankStabilised: false}},
		{
			config: gpt2,
			widths: {q: everyGpt2.q!, v: everyGpt2.v!},
			blocks: [0, 1],
			spec: {rank: 2, alpha: 16, dropout: 0, isRankStabilised: true},
		},
		{
			config: gpt2,
			widths: {k: everyGpt2.k!},
			blocks: [1],
			spec: {rank: 5, alpha: 1, dropout: 0, isRankStabilised: false},
		},
	];
	for (const [index, {config, widths, blocks, spec}] of cases.entries()) {
		const folder = join(root, String(index));
		const adapter = randomAdapter(widths, blocks, spec.rank);
		const targets = Object.keys(widths) as Projection[];
		await saveAdapter(folder, adapter, {config, spec: {...spec, targets}, baseModel: 'x'});
		const again = await loadAdapter(folder, config);
		t.deepEqual(again.tensors, adapter);
		t.true(Math.abs(again.spec.alpha - spec.alpha) < 1e-12);
		t.deepEqual(
			{...again.spec, targets: again.spec.targets.toSorted(), alpha: spec.alpha},
			{...spec, targets: targets.toSorted()},
		);
		const json = JSON.parse(await readFile(join(folder, 'adapter_config.json'), 'utf8'));
		t.deepEqual(json.layers_to_transform, blocks.length === 4 ? null : blocks);
		t.is(json.use_rslora, spec.isRankStabilised);
	}
});

test('adapters that are not plain LoRA or do not fit the model are refused by name', async t => {
	const folder = join(await temporaryFolder(t), 'adapter');
	await mkdir(folder);
	const reference = JSON.parse(await readFile(golden('tiny-llama/peft_adapter/adapter_config.json'), 'utf8'));
	const {tensors} = await readSafetensors(golden('tiny-llama/peft_adapter/adapter_model.safetensors'));
	const write = async (json: object, changed: NamedTensors = tensors) => {
		await writeFile(join(folder, 'adapter_config.json'), JSON.stringify({...reference, ...json}));
		await writeSafetensors(join(folder, 'adapter_model.safetensors'), changed);
	};
	const unsupported: [object, RegExp][] = [
		[{peft_type: 'IA3'}, /IA3 adapter; only LORA/],
		[{use_dora: true}, /`use_dora` = true/],
		[{bias: 'all'}, /`bias` = "all"/],
		[{modules_to_save: ['lm_head']}, /`modules_to_save`/],
		[{rank_pattern: {q_proj: 8}}, /`rank_pattern`/],
		[{alpha_pattern: {q_proj: 8}}, /`alpha_pattern`/],
	];
	for (const [json, message] of unsupported) {
		await write(json);
		await t.throwsAsync(loadAdapter(folder, llama), refusal('model-unsupported', message));
	}
	await write({r: 8});
	await t.throwsAsync(
		loadAdapter(folder, llama),
		refusal('weights-invalid', /says r = 8, but its tensors have rank 4/),
	);
	await write({lora_alpha: 'much'});
	await t.throwsAsync(loadAdapter(folder, llama), refusal('weights-invalid', /`lora_alpha`.*"much"/));
	await write({});
	await t.throwsAsync(loadAdapter(folder, gpt2), refusal('weights-invalid', /a gpt2 model of 4 blocks has not/));
	await t.throwsAsync(loadAdapter(folder, {...llama, blocks: 2}), refusal('weights-invalid', /of 2 blocks has not/));
	await t.throwsAsync(loadAdapter(folder, {...llama, hidden: 32}), refusal('weights-invalid', /needs a width of 32/));
	const name = 'base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight';
	await write({}, {...tensors, [name]: tensorOf(new Float32Array(4 * 64).fill(Number.NaN), [4, 64])});
	await t.throwsAsync(loadAdapter(folder, llama), refusal('weights-invalid', /not finite/));
	await write({}, Object.fromEntries(Object.entries(tensors).filter(([key]) => key !== name)));
	await t.throwsAsync(loadAdapter(folder, llama), refusal('weights-invalid', /block.0.q.B without block.0.q.A/));
	await write({}, {});
	await t.throwsAsync(loadAdapter(folder, llama), refusal('weights-invalid', /ranks none; expected one rank/));
	await t.throwsAsync(loadAdapter(join(folder, 'none'), llama), refusal('weights-invalid', /Cannot read/));
});

test('a fused adapter that was trained on elsewhere is not taken apart', async t => {
	const folder = await temporaryFolder(t);
	const adapter = await goldenAdapter('tiny-gpt2/lora_qv.safetensors');
	await saveAdapter(folder, adapter, {config: gpt2, spec: plain, baseModel: 'tiny-gpt2'});
	const path = join(folder, 'adapter_model.safetensors');
	const {tensors, metadata} = await readSafetensors(path);
	f32View(tensors['base_model.model.transformer.h.1.attn.c_attn.lora_B.weight']!)[64 * 8] = 0.5;
	await writeSafetensors(path, tensors, metadata);
	await t.throwsAsync(loadAdapter(folder, gpt2), refusal('weights-invalid', /c_attn of block 1 holds q and v apart/));
	await writeSafetensors(path, tensors);
	const fused = await loadAdapter(folder, gpt2);
	t.deepEqual(fused.spec, {...plain, rank: 8, alpha: 32, targets: ['qkv']});
});
