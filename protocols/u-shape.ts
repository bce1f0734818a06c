/**
The U shape: labels, and with them the last blocks, the final norm and the LM head, stay with the clients. Pure.
*/
import {distinctCuts} from './cuts.ts';
import type {Scenario} from './scenario.ts';

/** Whether labels stay with the clients. */
export const isUShaped = ({labels}: Pick<Scenario, 'labels'>): boolean => labels === 'client';

/** Blocks that a client holds at the end of the model. */
export const tailBlocksOf = ({labels, tailBlocks}: Pick<Scenario, 'labels' | 'tailBlocks'>): number =>
	labels === 'client' ? tailBlocks : 0;

/** What is wrong with where a scenario leaves its labels: the path, and a sentence that ends with the fix. */
export function uShapeProblem(scenario: Scenario): {readonly path: string; readonly problem: string} | undefined {
	const {mainServer, stepClosing} = scenario;
	if (!isUShaped(scenario)) return undefined;
	const path = 'labels';
	if (!mainServer)
		return {
			path,
			problem: 'without a main server labels never leave the clients; leave out `labels`, or set mainServer',
		};
	if (distinctCuts(scenario).length > 1)
		return {
			path,
			problem: 'labels that stay with the clients need one cut, got unlike ones; give one, or leave out `labels`',
		};
	if (stepClosing.kind !== 'all')
		return {
			path,
			problem:
				'with labels at the clients a step is finished by those that began it, so that none closes at a quorum; set stepClosing.kind to all, or leave out `labels`',
		};
	return undefined;
}
