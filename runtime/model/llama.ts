/**
The Llama family's weights as Hugging Face names them: RMSNorm, rotary positions, maps stored `[out, in]`, SwiGLU, and Qwen2's biases.
*/
import type {Linear, Norm} from './layers.ts';
import {interleaved} from './rope.ts';
import type {FamilyReader, Reader} from './weights.ts';

/** Reads blocks, embedding and head of a Llama or Qwen2 model. */
export function llamaReader({source, tensor, stacked}: Reader): FamilyReader {
	const {normEps, isHeadTied, hasQkvBias, heads, kvHeads, headDim} = source.config;
	const norm = async (name: string): Promise<Norm> => ({
		kind: 'rms',
		gain: await tensor(`${name}.weight`),
		eps: normEps,
	});
	const linear = async (name: string): Promise<Linear> => ({weight: await tensor(`${name}.weight`), isOutIn: true});
	const rotated = (heads + kvHeads) * headDim;
	const place = (row: number) => (row < rotated ? interleaved(source.config, row) : row);
	const qkv = async (at: string): Promise<Linear> => {
		const names = (kind: string) => ['q', 'k', 'v'].map(name => `${at}.${name}_proj.${kind}`);
		return {
			weight: await stacked(names('weight'), place),
			isOutIn: true,
			bias: hasQkvBias ? await stacked(names('bias'), place) : undefined,
		};
	};
	return {
		async block(index) {
			const at = `model.layers.${index}`;
			return {
				index,
				norm1: await norm(`${at}.input_layernorm`),
				qkv: await qkv(`${at}.self_attn`),
				o: await linear(`${at}.self_attn.o_proj`),
				norm2: await norm(`${at}.post_attention_layernorm`),
				gate: await linear(`${at}.mlp.gate_proj`),
				up: await linear(`${at}.mlp.up_proj`),
				down: await linear(`${at}.mlp.down_proj`),
			};
		},
		embedding: async () => ({tokens: await tensor('model.embed_tokens.weight')}),
		head: async () => ({
			norm: await norm('model.norm'),
			weight: await tensor(isHeadTied ? 'model.embed_tokens.weight' : 'lm_head.weight'),
		}),
	};
}
