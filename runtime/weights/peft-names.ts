/**
Where each adapted projection sits in PEFT's names. Pure; no files.
*/
import type {ModelConfig} from '../model/config.ts';

const llamaModules = {
	q: 'self_attn.q_proj',
	k: 'self_attn.k_proj',
	v: 'self_attn.v_proj',
	o: 'self_attn.o_proj',
	gate: 'mlp.gate_proj',
	up: 'mlp.up_proj',
	down: 'mlp.down_proj',
};

const gpt2Modules = {qkv: 'attn.c_attn', o: 'attn.c_proj', up: 'mlp.c_fc', down: 'mlp.c_proj'};

/** GPT-2's one projection for q, k and v, in this order of output rows. */
export const fusedParts = ['q', 'k', 'v'] as const;

/** The modules of a family: projection to the path of its module inside a block. */
export const modulesOf = ({family}: Pick<ModelConfig, 'family'>): Readonly<Record<string, string>> =>
	family === 'gpt2' ? gpt2Modules : llamaModules;

/** `lora_A` is `[rank, in]`, `lora_B` is `[out, rank]`. */
export const peftName = (config: ModelConfig, block: number, module: string, side: 'A' | 'B'): string =>
	`base_model.model.${config.family === 'gpt2' ? 'transformer.h' : 'model.layers'}.${block}.${module}.lora_${side}.weight`;

/** The block, module and side of a PEFT name, or undefined for a name of another form. */
export function parsePeftName(
	config: ModelConfig,
	name: string,
): {block: number; module: string; side: 'A' | 'B'} | undefined {
	const stem = config.family === 'gpt2' ? 'transformer\\.h' : 'model\\.layers';
	const match = new RegExp(`^base_model\\.model\\.${stem}\\.(\\d+)\\.(.+)\\.lora_([AB])\\.weight$`).exec(name);
	if (!match) return undefined;
	return {block: Number(match[1]), module: match[2]!, side: match[3] as 'A' | 'B'};
}
