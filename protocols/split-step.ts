/**
Contradictions in a scenario's settings of the split step that no single value shows. Pure.
*/
import type {Scenario} from './scenario.ts';

type Problem = {readonly path: string; readonly problem: string};

/** What is wrong with whom a step waits for; nothing when it makes sense. */
export function stepClosingProblem({stepClosing, update, clients, mainServer}: Scenario): Problem | undefined {
	if (stepClosing.kind === 'all') return undefined;
	const {count, fraction} = stepClosing;
	const path = 'stepClosing';
	if (!mainServer)
		return {path, problem: 'a quorum of a step needs a main server, got mainServer false; set mainServer to true'};
	if (update.kind !== 'parallel') {
		const problem = `a quorum needs the update parallel, got ${update.kind}, which never waits for all; remove one`;
		return {path, problem};
	}
	if ((count === undefined) === (fraction === undefined))
		return {path, problem: 'a quorum needs either count or fraction; give one of the two'};
	if ((count ?? 0) > clients) {
		const problem = `expected at most the ${clients} clients, got ${count}; lower it or add clients`;
		return {path: `${path}.count`, problem};
	}
	return undefined;
}
