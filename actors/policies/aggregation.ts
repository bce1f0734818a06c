/**
How uploads become the next global adapter: weights and the kernel that combines them. Pure.
*/
import type {AggregationKernel, AggregationPlan} from '../../protocols/aggregation.ts';
import type {Aggregation} from '../../protocols/policies.ts';
import {mixingKernel} from './mixing.ts';
import {normalised} from './server-update.ts';
import {carriedWeight, stalenessWeight} from './staleness.ts';

/** An upload as described to a policy; `staleness` is tau: aggregations since the adapter that it began from. */
export type UploadDescription = {
	readonly client: string;
	readonly round: number;
	readonly samples: number;
	readonly stepsDone: number;
	readonly staleness: number;
};

const countsAlike = new Set<Aggregation['kind']>([
	'uniform',
	'median',
	'trimmed-mean',
	'krum',
	'multi-krum',
	'dp-fedavg',
	'fedasync',
	'fedbuff',
]);

/**
The plan over the uploads that count; an upload of zero steps carries the old adapter and is left out. `cohort`: how many were to
come; default as many as came.
*/
export function planAggregation(
	aggregation: Aggregation,
	uploads: readonly UploadDescription[],
	cohort: number = uploads.length,
): AggregationPlan {
	const counted = uploads.filter(upload => upload.stepsDone > 0);
	const weightOf = ({samples, staleness}: UploadDescription) =>
		countsAlike.has(aggregation.kind) ? 1 : samples * carriedWeight(staleness);
	const weights = normalised(counted.map(upload => ({client: upload.client, weight: weightOf(upload)})));
	const members = weights.map((member, index) => ({...member, round: counted[index]!.round}));
	const kernel = kernelOf(aggregation, counted, cohort);
	// Too few uploads to withstand what the rule promises to: nothing is taken over.
	const isTooFew = kernel.kind === 'multi-krum' && counted.length < 2 * kernel.byzantine + 3;
	return {kernel, members: isTooFew ? [] : members};
}

function kernelOf(aggregation: Aggregation, uploads: readonly UploadDescription[], cohort: number): AggregationKernel {
	switch (aggregation.kind) {
		case 'fedavg':
		case 'uniform':
		case 'fedprox':
		case 'ffa-lora':
			return {kind: 'mean'};
		case 'krum':
			return {kind: 'multi-krum', byzantine: aggregation.byzantine, count: 1};
		case 'trimmed-mean':
			return {kind: 'trimmed-mean', trim: Math.floor(aggregation.fraction * uploads.length)};
		case 'dp-fedavg': {
			// Whether somebody's upload came may not show in what the sum is divided by.
			const {normMax, noiseMultiplier} = aggregation;
			return {kind: 'noised-mean', normMax, noiseMultiplier, count: Math.max(1, cohort)};
		}
		case 'fedasync': {
			const {mixing, staleness} = aggregation;
			return {kind: 'mix', mixing: mixing * stalenessWeight(staleness, uploads[0]?.staleness ?? 0)};
		}
		case 'fedbuff': {
			// Divided by K, not by the sum of the scales.
			const scales = uploads.map(({staleness}) => 1 / Math.sqrt(1 + staleness));
			return {kind: 'add-changes', learningRate: aggregation.learningRate, scales};
		}
		case 'zero-padding':
		case 'flexlora':
		case 'flora':
		case 'fedex-lora':
			return mixingKernel(aggregation);
		default:
			return aggregation;
	}
}
