/**
The U shape: clients keep their labels, and with them the last block, the final norm and the LM head. The main server has what is between.
Watch: nearly the losses of `--set labels=main-server` (the last block is averaged with the heads) with twice the messages and bytes of a step, and clients that compute for longer: the
product with the vocabulary is theirs.
*/
import type {ScenarioFile} from '../protocols/scenario.ts';

const uShaped: ScenarioFile = {
	name: 'u-shaped',
	description: 'labels stay with the clients, who hold both ends of the model',
	cut: 2,
	labels: 'client',
	tailBlocks: 1,
	clients: 3,
	lora: {rank: 4, alpha: 32, dropout: 0},
	data: {kind: 'restaurants', batchSize: 2, validationRows: 16},
	training: {steps: 8, stepsPerRound: 4, learningRate: 1e-3},
};

export default uShaped;
