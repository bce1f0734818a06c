/**
SplitLoRA: heads of 2 blocks on the clients, on edge-lab devices in virtual time; one of three baselines to compare.
Watch: one main-server step over all clients; activations are most of the bytes. `cutlayer compare splitlora fedlora cenlora`
*/
import type {ScenarioFile} from '../protocols/scenario.ts';

const splitlora: ScenarioFile = {
	name: 'splitlora',
	description: 'SplitLoRA: heads of 2 blocks on the clients (a baseline, for compare)',
	cut: 2,
	clients: 3,
	lora: {rank: 4, alpha: 32, dropout: 0},
	data: {kind: 'restaurants', batchSize: 4, validationRows: 16},
	training: {steps: 20, stepsPerRound: 5, learningRate: 1e-3},
};

export default splitlora;
