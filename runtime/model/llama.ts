/**
The Llama family's weights as Hugging Face names them: RMSNorm, rotary positions, maps stored `[out, in]`, SwiGLU, and Qwen2's biases.
The gain of a block's norm goes into the maps that read it, so that no pass multiplies by it.
*/
import type {Linear, Norm} from './layers.ts';
import {interleaved} from './rope.ts';
import type {FamilyReader, Reader} from './weights.ts';

/** Reads blocks, embedding and head of a Llama or Qwen2 model. */
export function llamaReader({source, tensor, stacked, values}: Reader): FamilyReader {
	const {normEps, isHeadTied, hasQkvBias, heads, kvHeads, headDim} = source.config;
	const bare: Norm = {kind: 'rms', eps: normEps};
	const linear = async (name: string): Promise<Linear> => ({weight: await tensor(`${name}.weight`), isOutIn: true});
	const scaled = async (name: string, inputGain: Float32Array): Promise<Linear> => ({
		weight: await stacked([`${name}.weight`], {gain: inputGain}),
		isOutIn: true,
		inputGain,
	});
	const rotated = (heads + kvHeads) * headDim;
	const place = (row: number) => (row < rotated ? interleaved(source.config, row) : row);
	const qkv = async (at: string, inputGain: Float32Array): Promise<Linear> => {
		const names = (kind: string) => ['q', 'k', 'v'].map(name => `${at}.${name}_proj.${kind}`);
		return {
			weight: await stacked(names('weight'), {place, gain: inputGain}),
			isOutIn: true,
			bias: hasQkvBias ? await stacked(names('bias'), {place}) : undefined,
			inputGain,
		};
	};
	return {
		async block(index) {
			const at = `model.layers.${index}`;
			const gain1 = await values(`${at}.input_layernorm.weight`);
			const gain2 = await values(`${at}.post_attention_layernorm.weight`);
			return {
				index,
				norm1: bare,
				qkv: await qkv(`${at}.self_attn`, gain1),
				o: await linear(`${at}.self_attn.o_proj`),
				norm2: bare,
				gate: await scaled(`${at}.mlp.gate_proj`, gain2),
				up: await scaled(`${at}.mlp.up_proj`, gain2),
				down: await linear(`${at}.mlp.down_proj`),
			};
		},
		embedding: async () => ({tokens: await tensor('model.embed_tokens.weight')}),
		head: async () => ({
			norm: {...bare, gain: await tensor('model.norm.weight')},
			weight: await tensor(isHeadTied ? 'model.embed_tokens.weight' : 'lm_head.weight'),
		}),
	};
}
