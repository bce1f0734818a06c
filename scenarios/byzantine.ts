/**
One of five clients uploads its adapter times -20 from the second round on; the coordinate-wise median does not follow it.
Watch: the validation loss goes on falling; with `--set aggregation.kind=fedavg` it rises from the second round on.
`cutlayer trace show` gives the norms of the uploads, `cutlayer trace blame` the client.
*/
import type {ScenarioFile} from '../protocols/scenario.ts';

const byzantine: ScenarioFile = {
	name: 'byzantine',
	description: 'virtual time: one of 5 clients uploads poison, the median withstands it; --clock virtual',
	cut: 2,
	clients: 5,
	lora: {rank: 4, alpha: 32, dropout: 0},
	data: {kind: 'restaurants', batchSize: 2, validationRows: 8},
	training: {steps: 12, stepsPerRound: 3, learningRate: 1e-3},
	aggregation: {kind: 'median'},
	faults: [{kind: 'scale-adapter', client: 'c4', factor: -20, fromRound: 1}],
};

export default byzantine;
