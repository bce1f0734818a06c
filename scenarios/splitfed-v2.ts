/**
SplitFed V2: the main server has one adapter and takes a step of its own for each batch, in order of arrival.
Watch: three server updates where SplitLoRA takes one, and a server staleness above 0: what others trained since a client last heard.
Compare: `cutlayer compare splitfed-v1 splitfed-v2 splitlora fedlora`
*/
import type {ScenarioFile} from '../protocols/scenario.ts';

const splitfedV2: ScenarioFile = {
	name: 'splitfed-v2',
	description: 'SplitFed V2: one server step a batch, in order of arrival (a baseline, for compare)',
	cut: 2,
	clients: 3,
	update: {kind: 'sequential'},
	lora: {rank: 4, alpha: 32, dropout: 0},
	data: {kind: 'restaurants', batchSize: 4, validationRows: 16},
	training: {steps: 20, stepsPerRound: 5, learningRate: 1e-3},
};

export default splitfedV2;
