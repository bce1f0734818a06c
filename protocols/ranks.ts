/**
Which LoRA rank each actor has: a scenario's one rank, or a list its clients take in turn. Pure.
*/
import type {Scenario} from './scenario.ts';

type Ranked = Pick<Scenario, 'lora'>;

/** Rules that know what to do with clients of unlike ranks. */
export const mixingRules = ['zero-padding', 'flexlora', 'flora'] as const;

/** The ranks of the clients `c0`, `c1`, ... before the list begins anew. */
export const ranksOf = ({lora: {rank, ranks}}: Ranked): readonly number[] => ranks ?? [rank];

/** A client's rank: its place in the list by the number in its id, the smallest for an id of another form. */
export function rankOf(scenario: Ranked, client: string): number {
	const ranks = ranksOf(scenario);
	const index = /^c(\d+)$/.exec(client)?.[1];
	return index === undefined ? Math.min(...ranks) : ranks[Number(index) % ranks.length]!;
}

/** The rank of the global client adapter: the largest. */
export const globalRank = (scenario: Ranked): number => Math.max(...ranksOf(scenario));

/** What is wrong with a scenario's ranks: the path, and a sentence that ends with the fix. */
export function rankProblem(scenario: Scenario): {readonly path: string; readonly problem: string} | undefined {
	const {lora, clients, aggregation} = scenario;
	const {ranks, initial} = lora;
	if (!ranks) return undefined;
	const path = 'lora.ranks';
	if (ranks.length > clients) {
		const problem = `expected at most one rank for each of the ${clients} clients, got ${ranks.length}; shorten the list or add clients`;
		return {path, problem};
	}
	if (initial !== undefined) {
		const problem = 'an adapter to start from has one rank; leave out `lora.initial`, or give one `lora.rank`';
		return {path, problem};
	}
	if (new Set(ranks).size === 1 || (mixingRules as readonly string[]).includes(aggregation.kind)) return undefined;
	const problem = `clients of ranks ${ranks.join(', ')} need a rule that mixes ranks, got \`${aggregation.kind}\`; set \`aggregation.kind\` to ${mixingRules.join(', ')}, or give one \`lora.rank\``;
	return {path, problem};
}
