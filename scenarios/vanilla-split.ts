/**
Vanilla split learning: one client trains at a time and hands its head on to the next; nothing is averaged.
Watch: each client idles while the others train, and so does the main server while one client computes; compare the idle shares and the
time to a common loss.
Compare: `cutlayer compare vanilla-split splitfed-v2 splitlora`
*/
import type {ScenarioFile} from '../protocols/scenario.ts';

const vanillaSplit: ScenarioFile = {
	name: 'vanilla-split',
	description: 'vanilla split learning: one client at a time hands its head on (a baseline, for compare)',
	cut: 2,
	clients: 3,
	selection: {kind: 'in-turn'},
	lora: {rank: 4, alpha: 32, dropout: 0},
	data: {kind: 'restaurants', batchSize: 4, validationRows: 16},
	training: {steps: 60, stepsPerRound: 5, learningRate: 1e-3, schedule: {kind: 'constant'}},
};

export default vanillaSplit;
