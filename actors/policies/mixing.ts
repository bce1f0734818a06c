/**
Rules for what FedAvg of A and B apart gets wrong, and for clients of unlike ranks, whose matrices it cannot average at all. Pure.
*/
import type {AggregationKernel} from '../../protocols/aggregation.ts';

/**
`zero-padding` (HetLoRA) fills up to the largest rank and cuts off for the others; `flexlora` cuts the mean of the products to each
rank. `flora` puts that mean into an overlay of the base and starts fresh adapters; `fedex-lora` averages the factors and puts what
that misses there.
*/
export type Mixing =
	| {readonly kind: 'zero-padding'; readonly weights: 'samples' | 'norm'}
	| {readonly kind: 'flexlora'}
	| {readonly kind: 'flora'}
	| {readonly kind: 'fedex-lora'};

/** What carries out a rule. */
export function mixingKernel(rule: Mixing): AggregationKernel {
	switch (rule.kind) {
		case 'zero-padding':
			return {kind: 'zero-padded-mean', weights: rule.weights};
		case 'flexlora':
			return {kind: 'truncated-products'};
		case 'flora':
			return {kind: 'stack'};
		case 'fedex-lora':
			return {kind: 'mean-and-residual'};
	}
}
