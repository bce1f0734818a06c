/**
Three clients and two servers fine-tune SmolLM2-135M on restaurant descriptions; nothing else is needed.
Watch: the training loss falls from about 3.4 to about 1.6 in four rounds, the validation loss from 3.5 to 2.1.
*/
import type {ScenarioFile} from '../protocols/scenario.ts';

const quickstart: ScenarioFile = {
	name: 'quickstart',
	description: 'three clients fine-tune SmolLM2-135M on made-up restaurants, cut 6, rank 4',
	model: 'smollm2-135m',
	cut: 6,
	clients: 3,
	lora: {rank: 4, alpha: 32, dropout: 0},
	data: {kind: 'restaurants', batchSize: 4, validationRows: 24},
	training: {steps: 20, stepsPerRound: 5, learningRate: 1e-3},
};

export default quickstart;
