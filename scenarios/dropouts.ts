/**
Five clients: one dies in silence, one leaves with a word, one crashes and comes back, one joins late.
Watch: round 1 waits until c1's lease of 3 s ends, round 3 goes on without c2 at once, c3 trains again after its crash, c4
is in the cohorts from round 2 on; cohort and gone of each round are in metrics.jsonl, the reasons in the summary.
*/
import type {ScenarioFile} from '../protocols/scenario.ts';

const dropouts: ScenarioFile = {
	name: 'dropouts',
	description: 'virtual time: clients die, leave, crash, return and join late; --clock virtual',
	cut: 2,
	clients: 5,
	lora: {rank: 4, alpha: 32, dropout: 0},
	data: {kind: 'restaurants', batchSize: 2, validationRows: 8},
	training: {steps: 15, stepsPerRound: 3, learningRate: 1e-3},
	faults: [
		{kind: 'dropout', client: 'c1', atMs: 1000, isAnnounced: false},
		{kind: 'dropout', client: 'c2', atMs: 5500, isAnnounced: true},
		{kind: 'crash', client: 'c3', atMs: 6300, returnMs: 6800},
		{kind: 'late-join', client: 'c4', atMs: 1200},
	],
	timing: {heartbeatMs: 500, leaseMs: 3000, answerTimeoutMs: 2000},
};

export default dropouts;
