/**
The settings of the published SplitLoRA code: a server step for each arriving batch, every upload counts the same, cut 3,
rank 4, batch 8, 512 tokens, an aggregation every 100 steps, five epochs of the E2E corpus. Its defects are not repeated.
Watch: days on two cores, so begin with `--steps 20`; `--set model=<folder>` with GPT-2 small is what the paper reports.
*/
import type {ScenarioFile} from '../protocols/scenario.ts';

const reference: ScenarioFile = {
	name: 'reference',
	description: "the published code's settings on the E2E corpus, sequential and uniform (long; try --steps 20)",
	cut: 3,
	clients: 3,
	lora: {rank: 4, alpha: 32, dropout: 0.1, targets: ['q', 'v']},
	data: {kind: 'e2e', path: '../shared/data/e2e', batchSize: 8, tokensMax: 512, validationRows: 64},
	training: {
		steps: 8763,
		stepsPerRound: 100,
		learningRate: 2e-4,
		labelSmoothing: 0.1,
		schedule: {kind: 'linear', warmupSteps: 500},
	},
	update: {kind: 'sequential'},
	aggregation: {kind: 'uniform'},
};

export default reference;
