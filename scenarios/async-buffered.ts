/**
Eight unlike clients, one of them twenty times slower: FedBuff adds every four uploads, and the main server steps over four batches.
Watch: nobody waits for the slow client, neither in a step (server staleness above 0) nor in a round (adapter staleness); compare
with `fedasync`, which aggregates four times as often, and with `stragglers`, where every step waits for c7.
*/
import type {ScenarioFile} from '../protocols/scenario.ts';

const asyncBuffered: ScenarioFile = {
	name: 'async-buffered',
	description: 'virtual time: FedBuff over 4 uploads, steps over 4 batches, nobody waits; --clock virtual',
	cut: 2,
	clients: 8,
	lora: {rank: 4, alpha: 32, dropout: 0},
	data: {kind: 'restaurants', batchSize: 2, validationRows: 16},
	training: {steps: 8, stepsPerRound: 4, learningRate: 1e-3},
	update: {kind: 'buffered', count: 4},
	aggregation: {kind: 'fedbuff', count: 4},
	fleet: {profile: 'lognormal-0.6'},
	faults: [{kind: 'straggle', client: 'c7', factor: 20, fromMs: 0}],
};

export default asyncBuffered;
