/**
GPT-2's weights as Hugging Face names them: LayerNorm, learned positions, Conv1D maps stored `[in, out]`, GELU.
*/
import type {Linear, Norm} from './layers.ts';
import type {FamilyReader, Reader} from './weights.ts';

/** Reads blocks, embedding and head of a GPT-2 model. */
export function gpt2Reader({source, tensor}: Reader): FamilyReader {
	const {normEps, isHeadTied} = source.config;
	const linear = async (name: string): Promise<Linear> => ({
		weight: await tensor(`${name}.weight`),
		isOutIn: false,
		bias: await tensor(`${name}.bias`),
	});
	const norm = async (name: string): Promise<Norm> => ({
		kind: 'layer',
		gain: await tensor(`${name}.weight`),
		bias: await tensor(`${name}.bias`),
		eps: normEps,
	});
	return {
		async block(index) {
			const at = `transformer.h.${index}`;
			return {
				index,
				norm1: await norm(`${at}.ln_1`),
				qkv: await linear(`${at}.attn.c_attn`),
				o: await linear(`${at}.attn.c_proj`),
				norm2: await norm(`${at}.ln_2`),
				up: await linear(`${at}.mlp.c_fc`),
				down: await linear(`${at}.mlp.c_proj`),
			};
		},
		embedding: async () => ({
			tokens: await tensor('transformer.wte.weight'),
			positions: await tensor('transformer.wpe.weight'),
		}),
		head: async () => ({
			norm: await norm('transformer.ln_f'),
			weight: await tensor(isHeadTied ? 'transformer.wte.weight' : 'lm_head.weight'),
		}),
	};
}
