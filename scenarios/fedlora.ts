/**
FedLoRA: every client holds the whole model, on edge-lab devices in virtual time; one of three baselines to compare.
Watch: only adapters travel, and the slow devices compute everything. `cutlayer compare splitlora fedlora cenlora`
*/
import type {ScenarioFile} from '../protocols/scenario.ts';

const fedlora: ScenarioFile = {
	name: 'fedlora',
	description: 'FedLoRA: every client holds the whole model (a baseline, for compare)',
	mainServer: false,
	clients: 3,
	lora: {rank: 4, alpha: 32, dropout: 0},
	data: {kind: 'restaurants', batchSize: 4, validationRows: 16},
	training: {steps: 20, stepsPerRound: 5, learningRate: 1e-3},
};

export default fedlora;
