/**
CenLoRA: one client with all the data and the batches of three, on edge-lab devices in virtual time; one of three baselines to compare.
Watch: the loss that a single place reaches; on the server's kind of machine, no bytes but the adapter. `cutlayer compare splitlora fedlora cenlora`
*/
import type {ScenarioFile} from '../protocols/scenario.ts';

const cenlora: ScenarioFile = {
	name: 'cenlora',
	description: 'CenLoRA: one client with all the data and the batches of three (a baseline, for compare)',
	mainServer: false,
	clients: 1,
	lora: {rank: 4, alpha: 32, dropout: 0},
	data: {kind: 'restaurants', batchSize: 12, validationRows: 16},
	training: {steps: 20, stepsPerRound: 5, learningRate: 1e-3},
	fleet: {clients: {c0: {flopsPerSecond: 6.5e12, overheadMs: 1}}},
};

export default cenlora;
