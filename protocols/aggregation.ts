/**
What the fed server asks its arithmetic to do with the uploads of a round: the word that passes from the policy to the kernels.
*/
import type {CohortMember} from './messages.ts';
import type {Aggregation} from './policies.ts';

/** Server optimizers over the clients' mean change. */
export type ServerOptimizer = Extract<Aggregation, {kind: 'fedavgm' | 'fedadam' | 'fedyogi'}>;

/** What combines the uploads, with its settings. */
export type AggregationKernel =
	| {readonly kind: 'mean'}
	| ServerOptimizer
	| {readonly kind: 'median'}
	| {readonly kind: 'trimmed-mean'; readonly trim: number}
	| {readonly kind: 'multi-krum'; readonly byzantine: number; readonly count: number}
	| {readonly kind: 'clipped'; readonly normMax: number}
	/** The sum of clipped changes with noise, over `count`. */
	| {readonly kind: 'noised-mean'; readonly normMax: number; readonly noiseMultiplier: number; readonly count: number}
	/** Padded to the largest rank; weights as planned, or by the norms of the products. */
	| {readonly kind: 'zero-padded-mean'; readonly weights: 'samples' | 'norm'}
	/** The mean of the products, cut to the largest rank. */
	| {readonly kind: 'truncated-products'}
	/** The mean of the products into the overlay, and a fresh adapter. */
	| {readonly kind: 'stack'}
	/** The mean of the factors, and what it misses of the mean of the products into the overlay. */
	| {readonly kind: 'mean-and-residual'}
	/** `w + mixing (w_i - w)` of one upload; `mixing` is that of its staleness. */
	| {readonly kind: 'mix'; readonly mixing: number}
	/** `w + learningRate sum_i weight_i scale_i (w_i - base_i)`: each upload less the adapter it began from. */
	| {readonly kind: 'add-changes'; readonly learningRate: number; readonly scales: readonly number[]};

/** An upload in a plan, by its client and round. */
export type AggregationMember = CohortMember & {readonly round: number};

/** Blocks `[from, to)` of which the main server's copy counts with a weight: the members' that do not hold them. */
export type SharedWeight = {readonly from: number; readonly to: number; readonly weight: number};

/**
Which kernel combines which uploads, in this order; weights sum to 1. Without members the global adapter stays as it is. Under unlike
cuts a block is combined of the members that hold it and of the main server's copy.
*/
export type AggregationPlan = {
	readonly kernel: AggregationKernel;
	readonly members: readonly AggregationMember[];
	readonly shared?: readonly SharedWeight[];
};
