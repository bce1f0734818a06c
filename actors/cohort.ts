/**
Who is in a cohort, asked at every message: found through an index made once a cohort, since a cohort never changes. Pure.
*/
import type {CohortMember} from '../protocols/messages.ts';

type Cohort = readonly CohortMember[];

const indexes = new WeakMap<Cohort, ReadonlyMap<string, CohortMember>>();

/** The member of that id, if it is in the cohort. */
export function memberOf(cohort: Cohort, client: string): CohortMember | undefined {
	let index = indexes.get(cohort);
	if (!index) {
		index = new Map(cohort.map(member => [member.client, member]));
		indexes.set(cohort, index);
	}
	return index.get(client);
}

/** The cohort without those that are gone; the same one when none of them is in it. */
export function cohortWithout(cohort: Cohort, gone: readonly string[]): Cohort {
	if (!gone.some(client => memberOf(cohort, client))) return cohort;
	const left = new Set(gone);
	return cohort.filter(({client}) => !left.has(client));
}
