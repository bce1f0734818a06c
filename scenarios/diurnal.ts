/**
Five clients that are here by day and night as phones are: most at midnight, when the run begins, few at noon. A day has 12 s.
Watch: the cohort of each round in metrics.jsonl falls towards noon; a client that leaves says so, and nobody waits for it.
*/
import type {ScenarioFile} from '../protocols/scenario.ts';

const diurnal: ScenarioFile = {
	name: 'diurnal',
	description: 'virtual time: clients come and go with the hours of a day; --clock virtual',
	cut: 2,
	clients: 5,
	lora: {rank: 4, alpha: 32, dropout: 0},
	data: {kind: 'restaurants', batchSize: 2, validationRows: 8},
	training: {steps: 60, stepsPerRound: 3, learningRate: 1e-3},
	stop: {timeMs: 6000},
	fleet: {profile: 'diurnal', dayMs: 12_000},
	timing: {heartbeatMs: 500, leaseMs: 3000, answerTimeoutMs: 2000},
};

export default diurnal;
