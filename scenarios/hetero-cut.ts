/**
Three clients of unlike strength: heads of 1, 2 and 4 blocks, on devices of which the first is four times slower than the others.
Watch: the virtual time of the run; `--set cut=4` takes longer, for all then wait for the slow one. The main server trains blocks 1 to 3 for the clients that do not hold them, and they are averaged with the others' at each
round's end (docs/decisions/0018).
*/
import type {ScenarioFile} from '../protocols/scenario.ts';

const heteroCut: ScenarioFile = {
	name: 'hetero-cut',
	description: 'virtual time: heads of 1, 2 and 4 blocks on unlike devices; --clock virtual',
	cut: [1, 2, 4],
	clients: 3,
	lora: {rank: 4, alpha: 32, dropout: 0},
	data: {kind: 'restaurants', batchSize: 2, validationRows: 16},
	training: {steps: 8, stepsPerRound: 4, learningRate: 1e-3},
	fleet: {profile: 'edge-lab', clients: {c0: {flopsPerSecond: 1.1e11}, c1: {flopsPerSecond: 2.1e11}}},
};

export default heteroCut;
