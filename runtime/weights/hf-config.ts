/**
Reads a Hugging Face `config.json` into a model's shape. Whatever would change the arithmetic and is not supported is refused by name.
*/
import {CutlayerError} from '../../protocols/errors.ts';
import type {ModelConfig} from '../model/config.ts';

type Json = Readonly<Record<string, unknown>>;

const supported = 'Supported are gpt2, llama and qwen2';

/**
The shape of a GPT-2, Llama or Qwen2 model.
Throws `model-unsupported` for another architecture or a feature that is not computed here, `weights-invalid` for missing sizes.
*/
export function configFromHf(json: unknown): ModelConfig {
	if (typeof json !== 'object' || json === null || Array.isArray(json)) {
		throw new CutlayerError('weights-invalid', 'config.json is not a JSON object; get the model folder again');
	}
	const config = json as Json;
	if (config.quantization_config != null)
		throw unsupported('quantization_config', 'a quantised checkpoint', 'plain weights or GGUF');
	switch (config.model_type) {
		case 'gpt2':
			return gpt2Config(config);
		case 'llama':
			refuse(config, 'attention_bias', true);
			return llamaConfig(config, {hasQkvBias: false});
		case 'qwen2':
			refuse(config, 'use_sliding_window', true);
			return llamaConfig(config, {hasQkvBias: true});
		default:
			throw new CutlayerError(
				'model-unsupported',
				`The model type ${JSON.stringify(config.model_type)} is not supported. ${supported}`,
			);
	}
}

/** Throws `weights-invalid` when the sizes contradict each other, else returns the config. */
export function checkedConfig(config: ModelConfig): ModelConfig {
	const {hidden, heads, kvHeads, headDim, family} = config;
	const complaint =
		(heads % kvHeads !== 0 && `${heads} heads are not a multiple of ${kvHeads} key-value heads`) ||
		(headDim % 2 !== 0 &&
			family === 'llama' &&
			`a head dimension of ${headDim} is odd, which rotary positions cannot use`) ||
		(family === 'gpt2' && headDim * heads !== hidden && `${heads} heads do not divide the width ${hidden}`);
	if (complaint)
		throw new CutlayerError(
			'weights-invalid',
			`The model's sizes contradict each other: ${complaint}; get its config.json again`,
		);
	return config;
}

function gpt2Config(config: Json): ModelConfig {
	// gelu_pytorch_tanh is another name of the same function
	expectOneOf(config, 'activation_function', ['gelu_new', 'gelu_pytorch_tanh'], 'gelu_new');
	refuse(config, 'scale_attn_by_inverse_layer_idx', true);
	refuse(config, 'scale_attn_weights', false);
	refuse(config, 'add_cross_attention', true);
	const hidden = count(config, 'n_embd');
	const heads = count(config, 'n_head');
	return checkedConfig({
		family: 'gpt2',
		blocks: count(config, 'n_layer'),
		hidden,
		heads,
		kvHeads: heads,
		headDim: Math.floor(hidden / heads),
		ffn: config.n_inner == null ? 4 * hidden : count(config, 'n_inner'),
		vocabulary: count(config, 'vocab_size'),
		context: count(config, config.n_positions == null ? 'n_ctx' : 'n_positions'),
		normEps: positive(config, 'layer_norm_epsilon', 1e-5),
		ropeTheta: 0,
		isHeadTied: config.tie_word_embeddings !== false,
		hasQkvBias: true,
	});
}

function llamaConfig(config: Json, {hasQkvBias}: {hasQkvBias: boolean}): ModelConfig {
	expectOneOf(config, 'hidden_act', ['silu', 'swish'], 'silu');
	refuse(config, 'mlp_bias', true);
	const hidden = count(config, 'hidden_size');
	const heads = count(config, 'num_attention_heads');
	return checkedConfig({
		family: 'llama',
		blocks: count(config, 'num_hidden_layers'),
		hidden,
		heads,
		kvHeads: config.num_key_value_heads == null ? heads : count(config, 'num_key_value_heads'),
		headDim: config.head_dim == null ? Math.floor(hidden / heads) : count(config, 'head_dim'),
		ffn: count(config, 'intermediate_size'),
		vocabulary: count(config, 'vocab_size'),
		context: count(config, 'max_position_embeddings'),
		normEps: positive(config, 'rms_norm_eps', 1e-6),
		ropeTheta: ropeThetaOf(config),
		isHeadTied: config.tie_word_embeddings === true,
		hasQkvBias,
	});
}

/** The base of the rotary angles, at the top level or under `rope_parameters`; a scaled rotation is refused. */
function ropeThetaOf(config: Json): number {
	const parameters = {...asObject(config.rope_scaling), ...asObject(config.rope_parameters)};
	const type = parameters.rope_type ?? parameters.type ?? 'default';
	if (type !== 'default') throw unsupported('rope scaling', String(type), 'default');
	const partial = parameters.partial_rotary_factor ?? config.partial_rotary_factor ?? 1;
	if (partial !== 1) throw unsupported('partial_rotary_factor', String(partial), '1');
	return positive({rope_theta: parameters.rope_theta ?? config.rope_theta}, 'rope_theta', 10_000);
}

const asObject = (value: unknown): Json => (typeof value === 'object' && value !== null ? (value as Json) : {});

function count(config: Json, key: string): number {
	const value = config[key];
	if (Number.isSafeInteger(value) && (value as number) > 0) return value as number;
	throw new CutlayerError(
		'weights-invalid',
		`Expected \`${key}\` in config.json to be a positive whole number, got ${JSON.stringify(value)}; get the model folder again`,
	);
}

function positive(config: Json, key: string, fallback: number): number {
	const value = config[key] ?? fallback;
	if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value;
	throw new CutlayerError(
		'weights-invalid',
		`Expected \`${key}\` in config.json to be a positive number, got ${JSON.stringify(value)}; get the model folder again`,
	);
}

function refuse(config: Json, key: string, value: boolean): void {
	if (config[key] === value) throw unsupported(key, String(value), String(!value));
}

function expectOneOf(config: Json, key: string, accepted: readonly string[], fallback: string): void {
	const found = config[key] ?? fallback;
	if (!accepted.includes(found as string)) throw unsupported(key, String(found), accepted[0]!);
}

const unsupported = (what: string, found: string, expected: string) =>
	new CutlayerError(
		'model-unsupported',
		`The model has \`${what}\` = ${found}, which is not supported; expected ${expected}, choose another model`,
	);
