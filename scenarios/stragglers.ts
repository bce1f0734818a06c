/**
Eight clients of which one is twenty times slower from the start: every parallel step waits for it.
Watch: compare with `--set update.kind=buffered`: the fast clients' steps no longer wait, the server staleness is above 0.
*/
import type {ScenarioFile} from '../protocols/scenario.ts';

const stragglers: ScenarioFile = {
	name: 'stragglers',
	description: 'virtual time: one of 8 clients is 20 times slower; --clock virtual',
	cut: 2,
	clients: 8,
	lora: {rank: 4, alpha: 32, dropout: 0},
	data: {kind: 'restaurants', batchSize: 2, validationRows: 16},
	training: {steps: 8, stepsPerRound: 4, learningRate: 1e-3},
	fleet: {profile: 'lognormal-0.6'},
	faults: [{kind: 'straggle', client: 'c7', factor: 20, fromMs: 0}],
};

export default stragglers;
