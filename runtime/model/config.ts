/**
The shape of a supported language model, whatever file it came from, and where its frozen weights are read.
*/

export type ModelFamily = 'gpt2' | 'llama';

/** Sizes are counts; `hidden` is H in shape comments. */
export type ModelConfig = {
	readonly family: ModelFamily;
	/** L: the number of transformer blocks. */
	readonly blocks: number;
	readonly hidden: number;
	readonly heads: number;
	/** Key and value heads; equals `heads` without grouped-query attention. */
	readonly kvHeads: number;
	readonly headDim: number;
	/** Width of the MLP between its projections. */
	readonly ffn: number;
	readonly vocabulary: number;
	/** The longest row in tokens. */
	readonly context: number;
	/** Epsilon of LayerNorm (GPT-2) or RMSNorm (Llama). */
	readonly normEps: number;
	/** Base of the rotary angles; 0 for GPT-2. */
	readonly ropeTheta: number;
	/** True when the LM head is the token embedding. */
	readonly isHeadTied: boolean;
	/** True when q, k and v have biases (GPT-2, Qwen2). */
	readonly hasQkvBias: boolean;
};

/** One frozen weight in Hugging Face's name, orientation and row order. */
export type FrozenTensor = {readonly shape: readonly number[]; readonly values: Float32Array};

/**
Reads frozen weights by their Hugging Face names (`model.layers.0.self_attn.q_proj.weight`, `transformer.h.0.attn.c_attn.weight`),
always as f32, whatever the file holds. GGUF files are presented under the same names and in the same order of rows.
*/
export interface WeightSource {
	readonly config: ModelConfig;
	/** SHA-256 of the weight files, hex: the model hash of `hello`. */
	readonly modelHash: string;
	readonly names: readonly string[];
	/** The values may be a view of a shared buffer: never change them. Throws `weights-invalid` for a missing name, wrong shape or NaN. */
	read(name: string): Promise<FrozenTensor>;
	close(): Promise<void>;
}
