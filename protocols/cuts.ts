/**
Where each client's head ends: a scenario's one cut, or a list its clients take in turn. Pure.
*/
import type {Scenario} from './scenario.ts';

type Cut = Pick<Scenario, 'cut'>;

/** The cuts of the clients `c0`, `c1`, ... before the list begins anew. */
export const cutsOf = ({cut}: Cut): readonly number[] => (typeof cut === 'number' ? [cut] : cut);

/** A client's cut: its place in the list by the number in its id, the smallest for an id of another form. */
export function cutOf(scenario: Cut, client: string): number {
	const cuts = cutsOf(scenario);
	const index = /^c(\d+)$/.exec(client)?.[1];
	return index === undefined ? cutMin(scenario) : cuts[Number(index) % cuts.length]!;
}

/** The first block of the main server. */
export const cutMin = (scenario: Cut): number => Math.min(...cutsOf(scenario));

/** One past the last block that any client holds. */
export const cutMax = (scenario: Cut): number => Math.max(...cutsOf(scenario));

/** The cuts that differ, ascending; one for clients that are alike. */
export const distinctCuts = (scenario: Cut): readonly number[] =>
	[...new Set(cutsOf(scenario))].toSorted((a, b) => a - b);

/** Blocks `[from, to)`. */
export type Stretch = {readonly from: number; readonly to: number};

/** The blocks between the smallest and the largest cut, from one cut to the next: the main server has a copy of them. */
export const stretchesBetween = (cuts: readonly number[]): readonly Stretch[] =>
	cuts.slice(1).map((to, index) => ({from: cuts[index]!, to}));

/** Rules that average tensor by tensor, so that each block may have other owners. */
const blockwiseRules = ['fedavg', 'uniform', 'fedprox', 'fedavgm', 'fedadam', 'fedyogi'] as const;

/** What is wrong with a scenario's cuts: the path, and a sentence that ends with the fix. */
export function cutProblem(scenario: Scenario): {readonly path: string; readonly problem: string} | undefined {
	const {cut, clients, aggregation, lora, mainServer, update} = scenario;
	if (typeof cut === 'number') return undefined;
	if (cut.length > clients) {
		const problem = `expected at most one cut for each of the ${clients} clients, got ${cut.length}; shorten the list or add clients`;
		return {path: 'cut', problem};
	}
	if (!mainServer) {
		const problem = 'without a main server every client holds the whole model; give one cut, or set mainServer to true';
		return {path: 'cut', problem};
	}
	if (distinctCuts(scenario).length === 1) return undefined;
	if (update.kind === 'replicas') {
		const problem = `unlike cuts need one adapter of the main server, got the update replicas with one for each client; set update.kind to parallel, sequential or buffered`;
		return {path: 'update.kind', problem};
	}
	if (!(blockwiseRules as readonly string[]).includes(aggregation.kind)) {
		const problem = `clients of cuts ${cut.join(', ')} need a rule that averages block by block, got \`${aggregation.kind}\`; set \`aggregation.kind\` to ${blockwiseRules.join(', ')}, or give one cut`;
		return {path: 'aggregation.kind', problem};
	}
	const other = lora.ranks?.find(rank => rank !== lora.rank);
	if (other === undefined) return undefined;
	const problem = `with unlike cuts the main server holds blocks that clients hold too, so that all need its rank ${lora.rank}, got ${other}; leave out \`lora.ranks\`, or give one cut`;
	return {path: 'lora.ranks', problem};
}
