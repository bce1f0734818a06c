/**
The `adapter_config.json` of a PEFT folder: what an adapter is besides its tensors, written and checked.
*/
import {readFile} from 'node:fs/promises';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import type {ModelConfig} from '../model/config.ts';
import type {LoraSpec} from '../model/lora.ts';
import {modulesOf} from './peft-names.ts';

/** The parsed JSON. */
export type PeftConfig = Readonly<Record<string, unknown>>;

/** `blocks` are the adapted ones; `parts` are those of GPT-2's c_attn kept apart; `whole` are all other targets. */
export type ConfigParts = {
	readonly config: ModelConfig;
	readonly spec: LoraSpec;
	readonly baseModel: string;
	readonly blocks: readonly number[];
	readonly parts: readonly string[];
	readonly whole: readonly string[];
};

/** n parts side by side have n times the rank, so alpha grows to keep the scaling of each part what it was. */
export const fusedAlphaFactor = (parts: number, isRankStabilised: boolean) =>
	isRankStabilised ? Math.sqrt(parts) : parts;

/** The JSON for an adapter, with every key that PEFT needs. */
export function peftConfig({config, spec, baseModel, blocks, parts, whole}: ConfigParts): PeftConfig {
	const modules = modulesOf(config);
	const isFused = parts.length > 0;
	const fusedRank = parts.length * spec.rank;
	const fusedAlpha = spec.alpha * fusedAlphaFactor(parts.length, spec.isRankStabilised);
	const isOnlyFused = isFused && whole.length === 0;
	const hasPatterns = isFused && !isOnlyFused;
	return {
		alpha_pattern: hasPatterns ? {[modules.qkv!]: fusedAlpha} : {},
		auto_mapping: null,
		base_model_name_or_path: baseModel,
		bias: 'none',
		fan_in_fan_out: config.family === 'gpt2',
		inference_mode: true,
		init_lora_weights: true,
		layers_pattern: null,
		layers_to_transform: blocks.length === config.blocks ? null : blocks,
		lora_alpha: isOnlyFused ? fusedAlpha : spec.alpha,
		lora_dropout: spec.dropout,
		modules_to_save: null,
		peft_type: 'LORA',
		r: isOnlyFused ? fusedRank : spec.rank,
		rank_pattern: hasPatterns ? {[modules.qkv!]: fusedRank} : {},
		revision: null,
		target_modules: [...whole, ...(isFused ? ['qkv'] : [])].map(target => targetModule(config, modules[target]!)),
		task_type: 'CAUSAL_LM',
		use_dora: false,
		use_rslora: spec.isRankStabilised,
	};
}

/** PEFT matches ends of module names; GPT-2 has a c_proj in attention and in the MLP, so those two keep their parent. */
const targetModule = (config: ModelConfig, module: string) =>
	config.family === 'gpt2' && module.endsWith('c_proj') ? module : module.split('.').at(-1)!;

/** Reads the JSON; throws `weights-invalid`. */
export async function readPeftConfig(path: string): Promise<PeftConfig> {
	try {
		const json: unknown = JSON.parse(await readFile(path, 'utf8'));
		if (typeof json === 'object' && json !== null) return json as PeftConfig;
	} catch (error) {
		throw new CutlayerError('weights-invalid', `Cannot read ${path}: ${errorText(error)}`, {cause: error});
	}
	throw new CutlayerError('weights-invalid', `${path} is not a JSON object`);
}

/** Variants that change the arithmetic; each is off when its key is missing, null, false or 'none'. */
const variants = [
	'use_dora',
	'use_qalora',
	'use_bdlora',
	'lora_bias',
	'bias',
	'modules_to_save',
	'layer_replication',
	'megatron_config',
];

/** Throws `model-unsupported` for an adapter that is not plain LoRA. */
export function checkVariant(folder: string, json: PeftConfig): void {
	if (json.peft_type !== 'LORA') {
		throw new CutlayerError(
			'model-unsupported',
			`${folder} holds a ${String(json.peft_type)} adapter; only LORA is supported`,
		);
	}
	for (const key of variants) {
		const value = json[key];
		if (value == null || value === false || value === 'none' || String(value) === '') continue;
		throw new CutlayerError(
			'model-unsupported',
			`${folder} uses \`${key}\` = ${JSON.stringify(value)}, which is not supported`,
		);
	}
}

/** What `checkRanks` compares. */
export type RankCheck = {
	readonly folder: string;
	readonly json: PeftConfig;
	readonly rank: number;
	readonly parts: readonly string[];
	readonly isOnlyFused: boolean;
};

/** Ranks and alphas by pattern are read only in the form that `saveAdapter` writes. */
export function checkRanks({folder, json, rank, parts, isOnlyFused}: RankCheck): void {
	const expected = isOnlyFused ? rank * parts.length : rank;
	if (numberOf(folder, json, 'r') !== expected) {
		throw new CutlayerError('weights-invalid', `${folder} says r = ${json.r}, but its tensors have rank ${expected}`);
	}
	const isOurs = parts.length > 0 && !isOnlyFused;
	for (const key of ['rank_pattern', 'alpha_pattern']) {
		const pattern = json[key];
		const keys = typeof pattern === 'object' && pattern !== null ? Object.keys(pattern) : [];
		if (keys.length === 0 || (isOurs && keys.length === 1)) continue;
		throw new CutlayerError(
			'model-unsupported',
			`${folder} uses \`${key}\` = ${JSON.stringify(pattern)}; expected one rank and alpha`,
		);
	}
}

/** A number of the JSON; throws `weights-invalid` when it is none. */
export function numberOf(folder: string, json: PeftConfig, key: string, fallback?: number): number {
	const value = json[key] ?? fallback;
	if (typeof value === 'number' && Number.isFinite(value)) return value;
	throw new CutlayerError(
		'weights-invalid',
		`Expected \`${key}\` in ${folder}/adapter_config.json to be a number, got ${JSON.stringify(value)}`,
	);
}
