/**
Adapters as PEFT folders, both ways: `adapter_config.json` and `adapter_model.safetensors`, readable by PEFT.
*/
import {mkdir} from 'node:fs/promises';
import {join} from 'node:path';
import {CutlayerError} from '../../protocols/errors.ts';
import {type NamedTensors, type Tensor, tensorOf} from '../../protocols/tensor.ts';
import type {ModelConfig} from '../model/config.ts';
import {type LoraSpec, type Projection, placeOf} from '../model/lora.ts';
import {fuseParts, splitParts} from './fused-adapter.ts';
import {checkRanks, checkVariant, fusedAlphaFactor, numberOf, peftConfig, readPeftConfig} from './peft-config.ts';
import {fusedParts, modulesOf, parsePeftName, peftName} from './peft-names.ts';
import {openSafetensors, writeAtomically, writeSafetensors} from './safetensors.ts';

/** `tensors` are f32, named `block.<i>.<projection>.A` `[rank, in]` and `.B` `[out, rank]`. */
export type LoadedAdapter = {readonly tensors: NamedTensors; readonly spec: LoraSpec; readonly baseModel: string};

/** The key in the safetensors metadata that says which parts of GPT-2's c_attn an adapter holds apart. */
const partsKey = 'cutlayer.c_attn.parts';

/**
Writes an adapter so that PEFT loads it. Each file is replaced atomically, the tensors first.
GPT-2 adapters for q, k or v apart become one adapter of c_attn, see `fused-adapter.ts`.
*/
export async function saveAdapter(
	folder: string,
	adapter: NamedTensors,
	{config, spec, baseModel}: {config: ModelConfig; spec: LoraSpec; baseModel: string},
): Promise<void> {
	const blocks = blocksOf(adapter);
	const {parts, whole} = splitTargets(config, spec);
	const tensors: Record<string, Tensor> = {};
	for (const block of blocks) Object.assign(tensors, peftTensors({adapter, config, block, parts, whole}));
	await mkdir(folder, {recursive: true});
	const metadata = {format: 'pt', ...(parts.length > 0 ? {[partsKey]: parts.join(',')} : {})};
	await writeSafetensors(join(folder, 'adapter_model.safetensors'), tensors, metadata);
	const json = peftConfig({config, spec, baseModel, blocks, parts, whole});
	await writeAtomically(join(folder, 'adapter_config.json'), [Buffer.from(`${JSON.stringify(json, null, 2)}\n`)]);
}

/**
Reads a PEFT folder, f16 and bf16 too. Throws `weights-invalid` for tensors that do not fit the model or are not finite,
and `model-unsupported` for variants of LoRA that are not computed here.
*/
export async function loadAdapter(folder: string, config: ModelConfig): Promise<LoadedAdapter> {
	const json = await readPeftConfig(join(folder, 'adapter_config.json'));
	checkVariant(folder, json);
	const {tensors: stored, parts} = await readTensors(join(folder, 'adapter_model.safetensors'), config);
	const tensors: Record<string, Tensor> = {...stored};
	for (const block of parts.length > 0 ? blocksOf(stored) : []) {
		const {[`block.${block}.qkv.A`]: A, [`block.${block}.qkv.B`]: B} = stored;
		if (!A || !B || A.shape[0]! % parts.length !== 0) {
			throw new CutlayerError(
				'weights-invalid',
				`${folder} has no c_attn adapter of ${parts.length} equal parts in block ${block}`,
			);
		}
		delete tensors[`block.${block}.qkv.A`];
		delete tensors[`block.${block}.qkv.B`];
		Object.assign(tensors, splitParts({A, B}, block, parts));
	}
	const rank = rankOf(folder, tensors);
	const isRankStabilised = json.use_rslora === true;
	const targets = [...new Set(Object.keys(tensors).map(name => name.split('.')[2] as Projection))];
	const isOnlyFused = parts.length > 0 && targets.length === parts.length;
	const alpha =
		numberOf(folder, json, 'lora_alpha') / (isOnlyFused ? fusedAlphaFactor(parts.length, isRankStabilised) : 1);
	checkRanks({folder, json, rank, parts, isOnlyFused});
	return {
		tensors,
		spec: {rank, alpha, targets, dropout: numberOf(folder, json, 'lora_dropout', 0), isRankStabilised},
		baseModel: String(json.base_model_name_or_path ?? ''),
	};
}

/** GPT-2's q, k and v, when adapted apart, and the targets that are modules of their own. */
function splitTargets(
	{family}: ModelConfig,
	{targets}: LoraSpec,
): {parts: readonly string[]; whole: readonly string[]} {
	const parts: readonly string[] = family === 'gpt2' ? fusedParts.filter(part => targets.includes(part)) : [];
	if (parts.length > 0 && targets.includes('qkv')) {
		throw new Error('An adapter has either qkv or q, k and v apart');
	}
	return {parts, whole: targets.filter(target => !parts.includes(target))};
}

type BlockParts = {
	readonly adapter: NamedTensors;
	readonly config: ModelConfig;
	readonly block: number;
	readonly parts: readonly string[];
	readonly whole: readonly string[];
};

/** The tensors of one block under PEFT's names. */
function peftTensors({adapter, config, block, parts, whole}: BlockParts): NamedTensors {
	const modules = modulesOf(config);
	const tensors: Record<string, Tensor> = {};
	for (const target of whole) {
		const module = modules[target];
		if (!module) throw new Error(`A ${config.family} model has no projection ${target}`);
		for (const side of ['A', 'B'] as const) {
			const tensor = adapter[`block.${block}.${target}.${side}`];
			if (!tensor) throw new Error(`The adapter has no block.${block}.${target}.${side}`);
			tensors[peftName(config, block, module, side)] = tensor;
		}
	}
	if (parts.length > 0) {
		const {A, B} = fuseParts(adapter, block, parts);
		tensors[peftName(config, block, modules.qkv!, 'A')] = A;
		tensors[peftName(config, block, modules.qkv!, 'B')] = B;
	}
	return tensors;
}

const blocksOf = (tensors: NamedTensors): number[] =>
	[...new Set(Object.keys(tensors).map(name => Number(name.split('.')[1])))].toSorted((a, b) => a - b);

async function readTensors(path: string, config: ModelConfig): Promise<{tensors: NamedTensors; parts: string[]}> {
	const file = await openSafetensors(path);
	try {
		const parts = file.metadata[partsKey]?.split(',') ?? [];
		if (!parts.every(part => (fusedParts as readonly string[]).includes(part))) {
			throw new CutlayerError(
				'weights-invalid',
				`${path} says \`${partsKey}\` = ${parts}; expected some of ${fusedParts}`,
			);
		}
		const tensors: Record<string, Tensor> = {};
		for (const [name, {shape}] of file.entries) {
			const ours = ownName(path, config, name, shape);
			const values = await file.readF32(name);
			if (values.some(value => !Number.isFinite(value))) {
				throw new CutlayerError('weights-invalid', `${path} has a value in \`${name}\` that is not finite`);
			}
			tensors[ours] = tensorOf(values, shape);
		}
		for (const name of Object.keys(tensors)) {
			const other = name.replace(/[AB]$/, side => (side === 'A' ? 'B' : 'A'));
			if (!tensors[other]) throw new CutlayerError('weights-invalid', `${path} has ${name} without ${other}`);
		}
		return {tensors, parts};
	} finally {
		await file.close();
	}
}

/** `block.<i>.<projection>.<side>` of a PEFT tensor that fits the model. */
function ownName(path: string, config: ModelConfig, name: string, shape: readonly number[]): string {
	const parsed = parsePeftName(config, name);
	const modules = Object.entries(modulesOf(config));
	const projection = modules.find(([, module]) => module === parsed?.module)?.[0];
	if (!parsed || !projection || parsed.block >= config.blocks) {
		throw new CutlayerError(
			'weights-invalid',
			`${path} adapts \`${name}\`, which a ${config.family} model of ${config.blocks} blocks has not`,
		);
	}
	const {inputs, outputs} = placeOf(config, projection as Projection);
	const [width, expected] = parsed.side === 'A' ? [shape[1], inputs] : [shape[0], outputs];
	if (shape.length !== 2 || width !== expected) {
		throw new CutlayerError(
			'weights-invalid',
			`${path} has \`${name}\` of shape [${shape}], but the model needs a width of ${expected}`,
		);
	}
	return `block.${parsed.block}.${projection}.${parsed.side}`;
}

/** The tensors of a safetensors file with PEFT's names, under our names, and their rank. Throws `weights-invalid`. */
export async function readAdapterFile(
	path: string,
	config: ModelConfig,
): Promise<{readonly tensors: NamedTensors; readonly rank: number}> {
	const {tensors} = await readTensors(path, config);
	return {tensors, rank: rankOf(path, tensors)};
}

/** The one rank of all tensors. */
function rankOf(folder: string, tensors: NamedTensors): number {
	const ranks = new Set(
		Object.entries(tensors).map(([name, {shape}]) => (name.endsWith('.A') ? shape[0]! : shape[1]!)),
	);
	const [rank] = ranks;
	if (ranks.size === 1 && Number.isInteger(rank) && rank! > 0) return rank!;
	throw new CutlayerError(
		'weights-invalid',
		`${folder} has tensors of ranks ${[...ranks].join(', ') || 'none'}; expected one rank`,
	);
}
