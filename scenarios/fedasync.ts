/**
Eight unlike clients, one of them twenty times slower, without rounds of all: FedAsync mixes each upload in as it comes.
Watch: the adapter staleness in summary.json: most uploads are 5 to 8 versions old, that of the slowest client 12, and counts
0.6 / sqrt(13); with `--set aggregation.staleness.kind=constant` each counts 0.6. Nobody waits: compare with `stragglers`.
*/
import type {ScenarioFile} from '../protocols/scenario.ts';

const fedasync: ScenarioFile = {
	name: 'fedasync',
	description: 'virtual time: no rounds of all, each upload is mixed in by its staleness; --clock virtual',
	cut: 2,
	clients: 8,
	lora: {rank: 4, alpha: 32, dropout: 0},
	data: {kind: 'restaurants', batchSize: 2, validationRows: 16},
	training: {steps: 8, stepsPerRound: 4, learningRate: 1e-3},
	update: {kind: 'sequential'},
	aggregation: {kind: 'fedasync', staleness: {kind: 'polynomial'}},
	evaluation: {everyRounds: 4},
	fleet: {profile: 'lognormal-0.6'},
	faults: [{kind: 'straggle', client: 'c7', factor: 20, fromMs: 0}],
};

export default fedasync;
