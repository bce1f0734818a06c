/**
Policies of a scenario that contradict each other or its clients: the first of them, found before anything starts.
*/
import type {ScenarioProblem} from './errors.ts';
import {type Aggregation, isAsynchronous, type RoundClosing, type Selection} from './policies.ts';
import {overClients, quorumProblem, wholeShare} from './quorum.ts';

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
	privacyProblem(scenario) ??
	ownPaceProblem(scenario) ??
	closingProblem(scenario) ??
	selectionProblem(scenario);

function updateProblem({update, clients}: Policies): ScenarioProblem | undefined {
	if (update.kind !== 'buffered' || update.count === undefined || update.count <= clients) return undefined;
	return overClients('update.count', update.count, clients);
}

function aggregationProblem(scenario: Policies): ScenarioProblem | undefined {
	const {aggregation, clients} = scenario;
	if ('byzantine' in aggregation) return byzantineProblem(aggregation, scenario);
	if (aggregation.kind === 'fedbuff' && aggregation.count > clients)
		return overClients('aggregation.count', aggregation.count, clients);
	return undefined;
}

function byzantineProblem(
	aggregation: Extract<Aggregation, {byzantine: number}>,
	{clients, ...policies}: Policies,
): ScenarioProblem | undefined {
	const {kind, byzantine} = aggregation;
	const needed = 2 * byzantine + 3;
	const path = 'aggregation.byzantine';
	const needs = `${kind} needs 2 x ${byzantine} + 3`;
	if (clients < needed) return {path, problem: `${needs} clients, got ${clients}; lower it or add clients`};
	const uploads = uploadsMax({clients, ...policies});
	if (uploads < needed)
		return {
			path,
			problem: `${needs} uploads a round, got at most ${uploads} by selection and closing; lower it or choose more clients`,
		};
	if (aggregation.kind === 'krum' || aggregation.count <= uploads) return undefined;
	const problem = `expected at most the ${uploads} uploads of a round, got ${aggregation.count}; lower it`;
	return {path: 'aggregation.count', problem};
}

/** The size of a cohort when every client is here and has data. */
export function cohortMax({clients, selection, closing}: Pick<Policies, 'clients' | 'selection' | 'closing'>): number {
	if (closing.kind === 'overselect') return Math.min(wholeShare(closing.factor, closing.count), clients);
	if (selection.kind === 'all' || selection.kind === 'available') return clients;
	if (selection.kind === 'in-turn') return 1;
	const fraction = selection.kind === 'random' ? selection.fraction : undefined;
	const count = fraction === undefined ? selection.count : Math.max(1, Math.round(fraction * clients));
	return Math.min(count ?? clients, clients);
}

/** How many uploads an aggregation can be over. */
const uploadsMax = (policies: Policies): number =>
	policies.closing.kind === 'overselect' && policies.closing.late === 'drop'
		? policies.closing.count
		: cohortMax(policies);

/** Whose choice depends on what clients learned tells of it, and who counts twice in a sum changes it twice as much. */
function privacyProblem({aggregation, selection, closing}: Policies): ScenarioProblem | undefined {
	if (aggregation.kind !== 'dp-fedavg') return undefined;
	if (selection.kind === 'power-of-choice' || selection.kind === 'oort') {
		const problem = `got ${selection.kind}, which chooses by the losses of clients and so tells of them what dp-fedavg does not count; set selection.kind to all, available, random or in-turn`;
		return {path: 'selection.kind', problem};
	}
	if (!('late' in closing) || closing.late === 'drop') return undefined;
	const problem =
		'got carry, by which a client may count twice in an aggregation of dp-fedavg, whose noise is for once; set it to drop';
	return {path: 'closing.late', problem};
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
	if (closing.kind === 'overselect') return overselectProblem(closing, selection, clients);
	if (closing.kind !== 'quorum') return undefined;
	const problem = quorumProblem({path: 'closing', name: 'a quorum'}, closing, clients);
	return problem ?? overCohort('closing.count', closing.count, {clients, selection, closing});
}

/** A count that asks for more clients than are chosen for a round. */
export function overCohort(
	path: string,
	count: number | undefined,
	policies: Pick<Policies, 'clients' | 'selection' | 'closing'>,
): ScenarioProblem | undefined {
	const cohort = cohortMax(policies);
	if (count === undefined || count <= cohort) return undefined;
	const problem = `expected at most the ${cohort} clients that are chosen for a round, got ${count}; lower it or choose more clients`;
	return {path, problem};
}

function overselectProblem(
	{count, factor}: Extract<RoundClosing, {kind: 'overselect'}>,
	selection: Selection,
	clients: number,
): ScenarioProblem | undefined {
	const invited = wholeShare(factor, count);
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
	const isFixed = selection.kind === 'all' || selection.kind === 'available' || selection.kind === 'in-turn';
	if (invited === clients || !isFixed) return undefined;
	const problem = `got ${selection.kind}, but overselect invites ${invited} of ${clients} clients; set selection.kind to random, power-of-choice or oort`;
	return {path: 'selection.kind', problem};
}

function selectionProblem({selection, closing, clients, timing}: Policies): ScenarioProblem | undefined {
	if (selection.kind === 'available' && timing.leaseMs === 0) {
		const problem = 'available needs signs of life, got timing.leaseMs 0; set it, or selection.kind to all';
		return {path: 'selection.kind', problem};
	}
	if (selection.kind === 'all' || selection.kind === 'available' || selection.kind === 'in-turn') return undefined;
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
	const wanted = closing.kind === 'overselect' ? wholeShare(closing.factor, closing.count) : count;
	const path = 'selection.candidates';
	if (candidates > clients) return overClients(path, candidates, clients);
	if (candidates >= wanted) return undefined;
	return {path, problem: `expected at least the ${wanted} clients that are chosen, got ${candidates}; raise it`};
}
