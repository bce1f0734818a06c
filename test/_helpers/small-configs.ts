/**
Shapes of models that compute in a moment, one of each family; no files belong to them.
*/
import type {ModelConfig} from '../../runtime/model/config.ts';

export const gpt2: ModelConfig = {
	family: 'gpt2',
	blocks: 3,
	hidden: 12,
	heads: 3,
	kvHeads: 3,
	headDim: 4,
	ffn: 20,
	vocabulary: 31,
	context: 8,
	normEps: 1e-5,
	ropeTheta: 0,
	isHeadTied: true,
	hasQkvBias: true,
};

export const llama: ModelConfig = {...gpt2, family: 'llama', heads: 4, kvHeads: 2, ropeTheta: 100, hasQkvBias: false};
