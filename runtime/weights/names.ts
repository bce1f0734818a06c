/**
The frozen weights a model of a given shape has: their Hugging Face names and shapes, and what GGUF files call them.
*/
import type {ModelConfig} from '../model/config.ts';

/**
One frozen weight: `[out, in]` for Llama's linear layers, `[in, out]` for GPT-2's.
`gguf` is its name in GGUF files; `order` says how its values lie there: `interleaved` mixes the rows within each
head (Llama's q and k), `transposed` swaps rows and columns (GPT-2), undefined when they lie as in Hugging Face's file.
*/
export type WeightName = {
	readonly name: string;
	readonly shape: readonly number[];
	readonly gguf: string;
	readonly order?: 'interleaved' | 'transposed';
};

/** All frozen weights of a model, in order of use. */
export function weightNames(config: ModelConfig): WeightName[] {
	return config.family === 'gpt2' ? gpt2Names(config) : llamaNames(config);
}

function gpt2Names({blocks, hidden, ffn, vocabulary, context, isHeadTied}: ModelConfig): WeightName[] {
	const norm = (name: string, gguf: string): WeightName[] => [
		{name: `${name}.weight`, shape: [hidden], gguf: `${gguf}.weight`},
		{name: `${name}.bias`, shape: [hidden], gguf: `${gguf}.bias`},
	];
	const linear = (name: string, gguf: string, inputs: number, outputs: number): WeightName[] => [
		{name: `${name}.weight`, shape: [inputs, outputs], gguf: `${gguf}.weight`, order: 'transposed'},
		{name: `${name}.bias`, shape: [outputs], gguf: `${gguf}.bias`},
	];
	const block = (index: number): WeightName[] => {
		const [hf, gguf] = [`transformer.h.${index}`, `blk.${index}`];
		return [
			...norm(`${hf}.ln_1`, `${gguf}.attn_norm`),
			...linear(`${hf}.attn.c_attn`, `${gguf}.attn_qkv`, hidden, 3 * hidden),
			...linear(`${hf}.attn.c_proj`, `${gguf}.attn_output`, hidden, hidden),
			...norm(`${hf}.ln_2`, `${gguf}.ffn_norm`),
			...linear(`${hf}.mlp.c_fc`, `${gguf}.ffn_up`, hidden, ffn),
			...linear(`${hf}.mlp.c_proj`, `${gguf}.ffn_down`, ffn, hidden),
		];
	};
	return [
		{name: 'transformer.wte.weight', shape: [vocabulary, hidden], gguf: 'token_embd.weight'},
		{name: 'transformer.wpe.weight', shape: [context, hidden], gguf: 'position_embd.weight'},
		...Array.from({length: blocks}, (_, index) => block(index)).flat(),
		...norm('transformer.ln_f', 'output_norm'),
		...headNames(vocabulary, hidden, isHeadTied),
	];
}

function llamaNames(config: ModelConfig): WeightName[] {
	const {blocks, hidden, heads, kvHeads, headDim, ffn, vocabulary, isHeadTied, hasQkvBias} = config;
	// Converters reorder the rows of q and k for Llama files only, and of all Llama-family models only Qwen2 has biases.
	const rows = hasQkvBias ? {} : ({order: 'interleaved'} as const);
	const projection = (hf: string, gguf: string, outputs: number, order: {order?: 'interleaved'}): WeightName[] => [
		{name: `${hf}.weight`, shape: [outputs, hidden], gguf: `${gguf}.weight`, ...order},
		...(hasQkvBias ? [{name: `${hf}.bias`, shape: [outputs], gguf: `${gguf}.bias`}] : []),
	];
	const block = (index: number): WeightName[] => {
		const [hf, gguf] = [`model.layers.${index}`, `blk.${index}`];
		return [
			{name: `${hf}.input_layernorm.weight`, shape: [hidden], gguf: `${gguf}.attn_norm.weight`},
			...projection(`${hf}.self_attn.q_proj`, `${gguf}.attn_q`, heads * headDim, rows),
			...projection(`${hf}.self_attn.k_proj`, `${gguf}.attn_k`, kvHeads * headDim, rows),
			...projection(`${hf}.self_attn.v_proj`, `${gguf}.attn_v`, kvHeads * headDim, {}),
			{name: `${hf}.self_attn.o_proj.weight`, shape: [hidden, heads * headDim], gguf: `${gguf}.attn_output.weight`},
			{name: `${hf}.post_attention_layernorm.weight`, shape: [hidden], gguf: `${gguf}.ffn_norm.weight`},
			{name: `${hf}.mlp.gate_proj.weight`, shape: [ffn, hidden], gguf: `${gguf}.ffn_gate.weight`},
			{name: `${hf}.mlp.up_proj.weight`, shape: [ffn, hidden], gguf: `${gguf}.ffn_up.weight`},
			{name: `${hf}.mlp.down_proj.weight`, shape: [hidden, ffn], gguf: `${gguf}.ffn_down.weight`},
		];
	};
	return [
		{name: 'model.embed_tokens.weight', shape: [vocabulary, hidden], gguf: 'token_embd.weight'},
		...Array.from({length: blocks}, (_, index) => block(index)).flat(),
		{name: 'model.norm.weight', shape: [hidden], gguf: 'output_norm.weight'},
		...headNames(vocabulary, hidden, isHeadTied),
	];
}

const headNames = (vocabulary: number, hidden: number, isHeadTied: boolean): WeightName[] =>
	isHeadTied ? [] : [{name: 'lm_head.weight', shape: [vocabulary, hidden], gguf: 'output.weight'}];
