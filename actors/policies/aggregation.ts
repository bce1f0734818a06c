/**
How uploads become the next global adapter: weights and the kernel that combines them. Pure.
*/
import type {CohortMember} from '../../protocols/messages.ts';
import {normalised} from './server-update.ts';

/** `fedavg`: A and B apart, weighted by samples. `uniform`: every upload counts the same (the published code). */
export type Aggregation = {readonly kind: 'fedavg'} | {readonly kind: 'uniform'};

/** An upload as described to a policy. */
export type UploadDescription = {readonly client: string; readonly samples: number; readonly stepsDone: number};

/** Which kernel combines which uploads; weights sum to 1. */
export type AggregationPlan = {readonly kernel: 'mean'; readonly members: readonly CohortMember[]};

/** The plan over the uploads that count; an upload of zero steps carries the old adapter and is left out. */
export function planAggregation(aggregation: Aggregation, uploads: readonly UploadDescription[]): AggregationPlan {
	const counted = uploads.filter(upload => upload.stepsDone > 0);
	const weightOf = (upload: UploadDescription) => (aggregation.kind === 'fedavg' ? upload.samples : 1);
	return {
		kernel: 'mean',
		members: normalised(counted.map(upload => ({client: upload.client, weight: weightOf(upload)}))),
	};
}
