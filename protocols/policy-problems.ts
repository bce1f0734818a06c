/**
Policies of a scenario that contradict each other or its clients: the first of them, found before anything starts.
*/
import type {ScenarioProblem} from './errors.ts';
import {type Aggregation, isAsynchronous, type RoundClosing, type Selection} from './policies.ts';
import {overClients, quorumProblem} from './quorum.ts';

/** What of a scenario the policies depend on. */
type Policies = {
	readonly clients: number;
	readonly mainServer: boolean;
	readonly update: {readonly kind: string; readonly count?: number};
	readonly selection: Selection;
	readonly closing: RoundClosing;
	readonly aggregation: Aggregation;
	readonly timing: {readonly leaseMs: number};
};

export const policyProblem = (scenario: Policies): ScenarioProblem | undefined =>
	updateProblem(scenario) ??
	aggregationProblem(scenario) ??
	ownPaceProblem(scenario) ??
	closingProblem(scenario) ??
	selectionProblem(scenario);

function updateProblem({update, clients}: Policies): ScenarioProblem | undefined {
	if (update.kind !== 'buffered' || update.count === undefined || update.count <= clients) return undefined;
	return overClients('update.count', update.count, clients);
}

function aggregationProblem({aggregation, clients}: Policies): ScenarioProblem | undefined {
	if ('byzantine' in aggregation && clients < 2 * aggregation.byzantine + 3) {
		const problem = `${aggregation.kind} needs 2 x ${aggregation.byzantine} + 3 clients, got ${clients}; lower it or add clients`;
		return {path: 'aggregation.byzantine', problem};
	}
	if (aggregation.kind === 'fedbuff' && aggregation.count > clients)
		return overClients('aggregation.count', aggregation.count, clients);
	return undefined;
}

/** Where every client goes at its own pace there is no round of all to wait in, to close or to choose for. */
function ownPaceProblem({aggregation, mainServer, update, closing, selection}: Policies): ScenarioProblem | undefined {
	if (!isAsynchronous(aggregation)) return undefined;
	const {kind} = aggregation;
	if (mainServer && update.kind !== 'sequential' && update.kind !== 'buffered') {
		const problem = `got ${update.kind}, in which every step waits for the whole cohort, but under ${kind} each client goes at its own pace; set update.kind to sequential or buffered`;
		return {path: 'update.kind', problem};
	}
	if (closing.kind !== 'all')
		return {path: 'closing.kind', problem: `got ${closing.kind}, but under ${kind} no round closes; remove closing`};
	if (selection.kind === 'all') return undefined;
	const problem = `got ${selection.kind}, but under ${kind} every client goes on at once; remove selection`;
	return {path: 'selection.kind', problem};
}

function closingProblem({closing, clients, selection}: Policies): ScenarioProblem | undefined {
	if (closing.kind === 'quorum') {
		const problem = quorumProblem({path: 'closing', name: 'a quorum'}, closing, clients);
		if (problem) return problem;
		const cohort = Math.min('count' in selection ? (selection.count ?? clients) : clients, clients);
		const {count = 0} = closing;
		if (count > cohort) {
			const problem = `expected at most the ${cohort} clients that selection.count takes a round, got ${count}; lower it or raise selection.count`;
			return {path: 'closing.count', problem};
		}
	}
	return closing.kind === 'overselect' ? overselectProblem(closing, selection, clients) : undefined;
}

function overselectProblem(
	{count, factor}: Extract<RoundClosing, {kind: 'overselect'}>,
	selection: Selection,
	clients: number,
): ScenarioProblem | undefined {
	const invited = Math.ceil(count * factor);
	if (invited > clients) {
		const problem = `overselect invites ${count} x ${factor} = ${invited} clients, got ${clients} clients; lower closing.count or closing.factor, or add clients`;
		return {path: 'closing.count', problem};
	}
	if ('count' in selection && selection.count !== undefined) {
		const problem = `got ${selection.count}, but overselect says how many: ${invited}; remove selection.count`;
		return {path: 'selection.count', problem};
	}
	if ('fraction' in selection && selection.fraction !== undefined) {
		const problem = `got ${selection.fraction}, but overselect says how many: ${invited}; remove selection.fraction`;
		return {path: 'selection.fraction', problem};
	}
	if (invited === clients || (selection.kind !== 'all' && selection.kind !== 'available')) return undefined;
	const problem = `got ${selection.kind}, but overselect invites ${invited} of ${clients} clients; set selection.kind to random, power-of-choice or oort`;
	return {path: 'selection.kind', problem};
}

function selectionProblem({selection, closing, clients, timing}: Policies): ScenarioProblem | undefined {
	if (selection.kind === 'available' && timing.leaseMs === 0) {
		const problem = 'available needs signs of life, got timing.leaseMs 0; set it, or selection.kind to all';
		return {path: 'selection.kind', problem};
	}
	if (selection.kind === 'all' || selection.kind === 'available') return undefined;
	const {kind, count} = selection;
	const path = 'selection';
	const isCounted = closing.kind === 'overselect';
	if (kind === 'random') return isCounted ? undefined : quorumProblem({path, name: kind}, selection, clients);
	if (!isCounted && count === undefined) return {path, problem: `${kind} needs count; give it`};
	if (count !== undefined && count > clients) return overClients(`${path}.count`, count, clients);
	return selection.kind === 'power-of-choice' ? candidatesProblem(selection, closing, clients) : undefined;
}

function candidatesProblem(
	{candidates, count = 0}: Extract<Selection, {kind: 'power-of-choice'}>,
	closing: RoundClosing,
	clients: number,
): ScenarioProblem | undefined {
	const wanted = closing.kind === 'overselect' ? Math.ceil(closing.count * closing.factor) : count;
	const path = 'selection.candidates';
	if (candidates > clients) return overClients(path, candidates, clients);
	if (candidates >= wanted) return undefined;
	return {path, problem: `expected at least the ${wanted} clients that are chosen, got ${candidates}; raise it`};
}
