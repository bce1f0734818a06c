/**
Models of any shape with random weights, for tests and benchmarks that need no trained ones.
*/
import type {ModelConfig, WeightSource} from '../../runtime/model/config.ts';
import {keyWords} from '../../runtime/random.ts';

/** The weights a model of this config has, with their shapes. */
export function weightShapes(config: ModelConfig): Map<string, number[]> {
	return new Map(config.family === 'gpt2' ? gpt2Shapes(config) : llamaShapes(config));
}

function* gpt2Shapes({
	blocks,
	hidden,
	ffn,
	vocabulary,
	context,
	isHeadTied,
}: ModelConfig): Generator<[string, number[]]> {
	yield ['transformer.wte.weight', [vocabulary, hidden]];
	yield ['transformer.wpe.weight', [context, hidden]];
	const maps = {
		'attn.c_attn': [hidden, 3 * hidden],
		'attn.c_proj': [hidden, hidden],
		'mlp.c_fc': [hidden, ffn],
		'mlp.c_proj': [ffn, hidden],
	};
	for (let block = 0; block < blocks; block++) {
		for (const [name, shape] of Object.entries(maps)) {
			yield [`transformer.h.${block}.${name}.weight`, shape];
			yield [`transformer.h.${block}.${name}.bias`, [shape[1]!]];
		}
		for (const name of ['ln_1', 'ln_2']) yield* norm(`transformer.h.${block}.${name}`, hidden);
	}
	yield* norm('transformer.ln_f', hidden);
	if (!isHeadTied) yield ['lm_head.weight', [vocabulary, hidden]];
}

function* norm(name: string, hidden: number): Generator<[string, number[]]> {
	yield [`${name}.weight`, [hidden]];
	yield [`${name}.bias`, [hidden]];
}

function* llamaShapes(config: ModelConfig): Generator<[string, number[]]> {
	const {blocks, hidden, heads, kvHeads, headDim, ffn, vocabulary, isHeadTied, hasQkvBias} = config;
	yield ['model.embed_tokens.weight', [vocabulary, hidden]];
	const attention = {q: heads * headDim, k: kvHeads * headDim, v: kvHeads * headDim};
	for (let block = 0; block < blocks; block++) {
		const at = `model.layers.${block}`;
		for (const [name, outputs] of Object.entries(attention)) {
			yield [`${at}.self_attn.${name}_proj.weight`, [outputs, hidden]];
			if (hasQkvBias) yield [`${at}.self_attn.${name}_proj.bias`, [outputs]];
		}
		yield [`${at}.self_attn.o_proj.weight`, [hidden, heads * headDim]];
		for (const name of ['gate', 'up']) yield [`${at}.mlp.${name}_proj.weight`, [ffn, hidden]];
		yield [`${at}.mlp.down_proj.weight`, [hidden, ffn]];
		for (const name of ['input_layernorm', 'post_attention_layernorm']) yield [`${at}.${name}.weight`, [hidden]];
	}
	yield ['model.norm.weight', [hidden]];
	if (!isHeadTied) yield ['lm_head.weight', [vocabulary, hidden]];
}

/** Uniform weights: matrices within about 1.7 / sqrt(inputs), vectors within 0.2 of 1 (gains) or of 0 (biases). */
export function randomSource(config: ModelConfig, seed: number): WeightSource {
	const shapes = weightShapes(config);
	return {
		config,
		modelHash: `random-${seed}`,
		names: [...shapes.keys()],
		async read(name) {
			const shape = shapes.get(name);
			if (!shape) throw new Error(`A random ${config.family} model has no weight ${name}`);
			const isVector = shape.length === 1;
			const centre = isVector && !name.endsWith('.bias') ? 1 : 0;
			const spread = isVector ? 0.2 : /wte|embed|wpe/.test(name) ? 0.5 : 1.7 / Math.sqrt(config.hidden);
			return {shape, values: uniform(shape, centre, spread, keyWords(seed, name)[0])};
		},
		close: async () => {},
	};
}

/** A fast generator (an xorshift), because large models have many weights. */
function uniform(shape: readonly number[], centre: number, spread: number, seed: number): Float32Array {
	const values = new Float32Array(shape.reduce((product, extent) => product * extent, 1));
	let state = seed | 1;
	for (let index = 0; index < values.length; index++) {
		state ^= state << 13;
		state ^= state >>> 17;
		state ^= state << 5;
		values[index] = centre + (spread * state) / 2 ** 31;
	}
	return values;
}
