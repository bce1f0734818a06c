/**
SplitFed V1: the main server keeps a copy of its adapter for each client and averages the copies when a round is over.
Watch: the server staleness is 0 throughout, for no client changes another's copy; the losses are those of FedLoRA.
Compare: `cutlayer compare splitfed-v1 splitfed-v2 splitlora fedlora`
*/
import type {ScenarioFile} from '../protocols/scenario.ts';

const splitfedV1: ScenarioFile = {
	name: 'splitfed-v1',
	description: 'SplitFed V1: a copy of the tail for each client, averaged each round (a baseline, for compare)',
	cut: 2,
	clients: 3,
	update: {kind: 'replicas'},
	lora: {rank: 4, alpha: 32, dropout: 0},
	data: {kind: 'restaurants', batchSize: 4, validationRows: 16},
	training: {steps: 20, stepsPerRound: 5, learningRate: 1e-3},
};

export default splitfedV1;
