/**
The runs whose traces are kept in this folder.
*/
import type {ScenarioFile} from '../../protocols/scenario.ts';

export const traceScenarios: Readonly<Record<string, Partial<ScenarioFile>>> = {
	'split-lora': {},
	sequential: {clients: 2, update: {kind: 'sequential'}, timing: {heartbeatMs: 5, leaseMs: 60_000}},
	'fed-lora': {mainServer: false, training: {steps: 4, stepsPerRound: 2, accumulation: 2}},
	dropout: {clients: 3},
};
