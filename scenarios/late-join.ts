/**
Three clients of which one joins in the second round.
Watch: cohort in the rounds of metrics.jsonl goes from 2 to 3; the first step of c2 starts from the global adapter, at the
place of the learning-rate schedule where the others are. Nobody waits for it before.
*/
import type {ScenarioFile} from '../protocols/scenario.ts';

const lateJoin: ScenarioFile = {
	name: 'late-join',
	description: 'virtual time: a third client joins while the second round is under way; --clock virtual',
	cut: 2,
	clients: 3,
	lora: {rank: 4, alpha: 32, dropout: 0},
	data: {kind: 'restaurants', batchSize: 2, validationRows: 8},
	training: {steps: 12, stepsPerRound: 3, learningRate: 1e-3},
	faults: [{kind: 'late-join', client: 'c2', atMs: 1000}],
};

export default lateJoin;
