/**
splitlora with a byte instead of four for each activation and gradient, and half of an adapter's bytes.
Watch: how many bytes go up and down, and how long rounds are on slow links, beside the validation losses.
`cutlayer compare splitlora compressed`
*/
import type {ScenarioFile} from '../protocols/scenario.ts';

const compressed: ScenarioFile = {
	name: 'compressed',
	description: 'splitlora with int8 activations and gradients and bf16 adapters; compare splitlora compressed',
	cut: 2,
	clients: 3,
	lora: {rank: 4, alpha: 32, dropout: 0},
	data: {kind: 'restaurants', batchSize: 4, validationRows: 16},
	training: {steps: 20, stepsPerRound: 5, learningRate: 1e-3},
	wire: {activations: 'i8', gradients: 'i8', adapters: 'bf16'},
};

export default compressed;
