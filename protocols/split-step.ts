/**
Contradictions in a scenario's settings of the split step that no single value shows. Pure.
*/
import type {ScenarioProblem} from './errors.ts';
import {overCohort} from './policy-problems.ts';
import {quorumProblem} from './quorum.ts';
import type {Scenario} from './scenario.ts';

/** What is wrong with whom a step waits for; nothing when it makes sense. */
export function stepClosingProblem(scenario: Scenario): ScenarioProblem | undefined {
	const {stepClosing, update, clients, mainServer} = scenario;
	if (stepClosing.kind === 'all') return undefined;
	const path = 'stepClosing';
	if (!mainServer)
		return {path, problem: 'a quorum of a step needs a main server, got mainServer false; set mainServer to true'};
	if (update.kind !== 'parallel') {
		const problem = `a quorum needs the update parallel, got ${update.kind}, which never waits for all; remove one`;
		return {path, problem};
	}
	const problem = quorumProblem({path, name: 'a quorum'}, stepClosing, clients);
	return problem ?? overCohort(`${path}.count`, stepClosing.count, scenario);
}
