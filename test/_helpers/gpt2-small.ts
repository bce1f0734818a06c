/**
The shape of GPT-2 small, for tests and benchmarks that need no weights of it.
*/
import type {ModelConfig} from '../../runtime/model/config.ts';

export const gpt2Small: ModelConfig = {
	family: 'gpt2',
	blocks: 12,
	hidden: 768,
	heads: 12,
	kvHeads: 12,
	headDim: 64,
	ffn: 3072,
	vocabulary: 50257,
	context: 1024,
	normEps: 1e-5,
	ropeTheta: 0,
	isHeadTied: true,
	hasQkvBias: true,
};
