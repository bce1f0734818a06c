/**
Three clients whose adapters have ranks 2, 4 and 8; the main server's has 4. FlexLoRA cuts the mean of their products to each rank.
Watch: the uploads' bytes differ by client; `--set aggregation.kind=zero-padding` is cheaper and less exact, and with
`--set aggregation.kind=flora` what is fused into the base grows with every round, as do the bytes of a round's opening.
*/
import type {ScenarioFile} from '../protocols/scenario.ts';

const heteroRank: ScenarioFile = {
	name: 'hetero-rank',
	description: 'clients of ranks 2, 4 and 8 (FlexLoRA)',
	cut: 2,
	clients: 3,
	lora: {rank: 4, ranks: [2, 4, 8], alpha: 32, dropout: 0},
	data: {kind: 'restaurants', batchSize: 2, validationRows: 16},
	training: {steps: 8, stepsPerRound: 4, learningRate: 1e-3},
	aggregation: {kind: 'flexlora'},
};

export default heteroRank;
