/**
How uploads become the next global adapter: weights and the kernel that combines them. Pure.
*/
import type {AggregationKernel, AggregationPlan, ServerOptimizer} from '../../protocols/aggregation.ts';
import {type Mixing, mixingKernel} from './mixing.ts';
import {normalised} from './server-update.ts';

/**
`fedavg`: A and B apart, weighted by samples. `uniform`: every upload counts the same (the published code). `fedprox` is FedAvg
whose clients are drawn to the global adapter. The robust rules (`median`, `trimmed-mean`, `krum`, `multi-krum`) count every upload
the same; `clipped` bounds each change by a norm before the weighted mean.
*/
export type Aggregation =
	| {readonly kind: 'fedavg'}
	| {readonly kind: 'uniform'}
	| {readonly kind: 'fedprox'; readonly mu: number}
	| ServerOptimizer
	| {readonly kind: 'median'}
	| {readonly kind: 'trimmed-mean'; readonly fraction: number}
	| {readonly kind: 'krum'; readonly byzantine: number}
	| {readonly kind: 'multi-krum'; readonly byzantine: number; readonly count: number}
	| {readonly kind: 'clipped'; readonly normMax: number}
	/** FFA-LoRA: A is frozen, so that the mean of B alone is the mean of the products. */
	| {readonly kind: 'ffa-lora'}
	| Mixing;

/** An upload as described to a policy. */
export type UploadDescription = {readonly client: string; readonly samples: number; readonly stepsDone: number};

const countsAlike = new Set<Aggregation['kind']>(['uniform', 'median', 'trimmed-mean', 'krum', 'multi-krum']);

/** The plan over the uploads that count; an upload of zero steps carries the old adapter and is left out. */
export function planAggregation(aggregation: Aggregation, uploads: readonly UploadDescription[]): AggregationPlan {
	const counted = uploads.filter(upload => upload.stepsDone > 0);
	const weightOf = (upload: UploadDescription) => (countsAlike.has(aggregation.kind) ? 1 : upload.samples);
	const members = normalised(counted.map(upload => ({client: upload.client, weight: weightOf(upload)})));
	const kernel = kernelOf(aggregation, counted.length);
	// Too few uploads to withstand what the rule promises to: nothing is taken over.
	const isTooFew = kernel.kind === 'multi-krum' && counted.length < 2 * kernel.byzantine + 3;
	return {kernel, members: isTooFew ? [] : members};
}

function kernelOf(aggregation: Aggregation, uploads: number): AggregationKernel {
	switch (aggregation.kind) {
		case 'fedavg':
		case 'uniform':
		case 'fedprox':
		case 'ffa-lora':
			return {kind: 'mean'};
		case 'krum':
			return {kind: 'multi-krum', byzantine: aggregation.byzantine, count: 1};
		case 'trimmed-mean':
			return {kind: 'trimmed-mean', trim: Math.floor(aggregation.fraction * uploads)};
		case 'zero-padding':
		case 'flexlora':
		case 'flora':
		case 'fedex-lora':
			return mixingKernel(aggregation);
		default:
			return aggregation;
	}
}
