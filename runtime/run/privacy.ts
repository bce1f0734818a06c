/**
What a run's noise comes to, for its summary: settings of noise on activations, and the (epsilon, delta) that noised aggregations
have spent. Pure.
*/
import type {Scenario} from '../../protocols/scenario.ts';
import type {MetricsRow} from './recorder.ts';
import {epsilonOf, gaussianRenyi, renyiOrders, sampledRenyi} from './renyi.ts';

export type PrivacySummary = {
	/** Of each row of activations that left a client; no epsilon is claimed for it. */
	readonly activations?: {readonly normMax: number; readonly sigma: number};
	/** Of the adapters that the fed server gave out. */
	readonly adapters?: {
		readonly epsilon: number;
		readonly delta: number;
		readonly noiseMultiplier: number;
		readonly normMax: number;
		readonly aggregations: number;
		/** What two runs that can hardly be told apart differ in: a client is there or not, or is another. */
		readonly adjacency: 'add-or-remove' | 'replace';
		/** The Renyi order that epsilon comes from. */
		readonly order: number;
	};
};

type Settings = Pick<Scenario, 'privacy' | 'aggregation' | 'selection'>;

/** Nothing where the scenario asks for no noise. */
export function privacyOf(scenario: Settings, rows: readonly MetricsRow[]): PrivacySummary | undefined {
	const activations = scenario.privacy?.activations;
	const adapters = adaptersOf(scenario, rows);
	if (!activations && !adapters) return undefined;
	return {...(activations && {activations}), ...(adapters && {adapters})};
}

/** A round in which nothing was aggregated gave nothing out. */
function adaptersOf({aggregation, selection}: Settings, rows: readonly MetricsRow[]): PrivacySummary['adapters'] {
	if (aggregation.kind !== 'dp-fedavg') return undefined;
	const {noiseMultiplier, normMax, delta} = aggregation;
	const rounds = rows.filter(row => row.kind === 'round' && !row.isVoid && Number(row.uploads) > 0);
	const isSampled = selection.kind === 'random';
	// One client for another changes a sum by twice what one client more does.
	const price = (alpha: number, row: MetricsRow) =>
		isSampled
			? sampledRenyi(alpha, noiseMultiplier / 2, Number(row.cohort) / Number(row.roster))
			: gaussianRenyi(alpha, noiseMultiplier);
	const prices = renyiOrders.map(alpha => rounds.reduce((sum, row) => sum + price(alpha, row), 0));
	const adjacency = isSampled ? 'replace' : 'add-or-remove';
	const spent = rounds.length > 0 ? epsilonOf(prices, delta) : {epsilon: 0, order: 0};
	return {...spent, delta, noiseMultiplier, normMax, aggregations: rounds.length, adjacency};
}
