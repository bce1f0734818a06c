/**
The paper's task at the size of two cores: SmolLM2-135M on the E2E corpus, batch 8, one server step over all clients' batches.
Watch: the validation loss after each round; point `data.path` to the folder with the official files.
*/
import type {ScenarioFile} from '../protocols/scenario.ts';

const e2e: ScenarioFile = {
	name: 'e2e',
	description: 'SplitLoRA on the E2E corpus: 3 clients, cut 6, rank 4, alpha 32, batch 8, 20 steps',
	model: 'smollm2-135m',
	cut: 6,
	clients: 3,
	lora: {rank: 4, alpha: 32},
	data: {kind: 'e2e', path: '../shared/data/e2e', batchSize: 8, validationRows: 64},
	training: {steps: 20, stepsPerRound: 10, learningRate: 2e-4},
	update: {kind: 'parallel'},
};

export default e2e;
