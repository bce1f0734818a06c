/**
Five clients: one dies in silence, one leaves with a word, one crashes and comes back, one joins late.
Watch: the round that waits for a lease, the cohort of each round in metrics.jsonl, and the reason in the summary.
*/
import type {ScenarioFile} from '../protocols/scenario.ts';

const dropouts: ScenarioFile = {
	name: 'dropouts',
	description: 'virtual time: clients die, leave, crash, return and join late; --clock virtual',
	cut: 2,
	clients: 5,
	lora: {rank: 4, alpha: 32, dropout: 0},
	data: {kind: 'restaurants', batchSize: 2, validationRows: 16},
	training: {steps: 12, stepsPerRound: 3, learningRate: 1e-3},
	faults: [
		{kind: 'dropout', client: 'c1', atMs: 2000, isAnnounced: false},
		{kind: 'dropout', client: 'c2', atMs: 5000, isAnnounced: true},
		{kind: 'crash', client: 'c3', atMs: 3000, returnMs: 9000},
		{kind: 'late-join', client: 'c4', atMs: 6000},
	],
};

export default dropouts;
