/**
How many batches of a client may be on their way to the main server at once, and where that makes no sense. Pure.
*/
import type {ScenarioProblem} from './errors.ts';
import type {Scenario} from './scenario.ts';
import {isUShaped} from './u-shape.ts';

/** Batches a client may begin before the gradient of the first has come. */
export const pipelineDepthOf = ({pipelineDepth = 1}: Pick<Scenario, 'pipelineDepth'>): number => pipelineDepth;

export const isPipelined = (scenario: Pick<Scenario, 'pipelineDepth'>): boolean => pipelineDepthOf(scenario) > 1;

/** What is wrong with a depth above 1: the path, and a sentence that ends with the fix. */
export function pipelineProblem(scenario: Scenario): ScenarioProblem | undefined {
	const {mainServer, stepClosing} = scenario;
	const depth = pipelineDepthOf(scenario);
	if (depth === 1) return undefined;
	const path = 'pipelineDepth';
	if (!mainServer)
		return {
			path,
			problem: `got ${depth}, but without a main server no gradient is on its way; leave it out, or set mainServer to true`,
		};
	if (isUShaped(scenario))
		return {
			path,
			problem: `got ${depth}, but with labels at the clients a step is two trips, and the main server finishes it before it begins the next; leave it out, or set labels to main-server`,
		};
	if (stepClosing.kind !== 'all')
		return {
			path,
			problem: `got ${depth}, but a step that closes at a quorum takes a late batch as the step after it, where the client's next batch is already; leave it out, or set stepClosing.kind to all`,
		};
	return undefined;
}
