/**
Who takes part in a round. Pure.
*/
import type {CohortMember} from '../../protocols/messages.ts';
import {normalised} from './server-update.ts';

/** A client as described to a policy; `samples` is |D_i|. */
export type Candidate = {readonly client: string; readonly samples: number};

/** Everybody who has data, with p_i = |D_i| / sum |D_j|, in order of id. An empty shard is never in a cohort. */
export function selectAll(candidates: readonly Candidate[]): CohortMember[] {
	const able = candidates.filter(candidate => candidate.samples > 0).toSorted((a, b) => (a.client < b.client ? -1 : 1));
	return normalised(able.map(({client, samples}) => ({client, weight: samples})));
}
