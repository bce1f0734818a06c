/**
Who takes part in a round. Pure: random numbers come with the candidates, drawn by keyed streams.
*/
import type {CohortMember} from '../../protocols/messages.ts';
import type {Selection} from '../../protocols/policies.ts';
import type {Candidate, Choice} from './candidates.ts';
import {selectAvailable} from './select-available.ts';
import {selectInTurn} from './select-in-turn.ts';
import {selectOort} from './select-oort.ts';
import {selectPowerOfChoice} from './select-power-of-choice.ts';
import {selectRandom} from './select-random.ts';
import {normalised} from './server-update.ts';

/** What a selection is for: the round, and how many where the closing rule says it. */
export type SelectionNeed = {readonly round: number; readonly invited?: number | undefined};

/** Whether the policy wants random numbers. */
export const drawsRandom = ({kind}: Selection): boolean => kind !== 'all' && kind !== 'available' && kind !== 'in-turn';

/** The cohort with p_i = |D_i| / sum |D_j|, in order of id. An empty shard is never in a cohort. */
export function selectCohort(
	selection: Selection,
	candidates: readonly Candidate[],
	{round, invited}: SelectionNeed,
): CohortMember[] {
	const able = candidates.filter(candidate => candidate.samples > 0).toSorted((a, b) => (a.client < b.client ? -1 : 1));
	const count = Math.min(invited ?? countOf(selection, able.length), able.length);
	const chosen = new Set(chosenOf(selection, able, {round, count}).map(({client}) => client));
	const cohort = able.filter(({client}) => chosen.has(client));
	return normalised(cohort.map(({client, samples}) => ({client, weight: samples})));
}

function countOf(selection: Selection, able: number): number {
	if (selection.kind === 'all' || selection.kind === 'available') return able;
	if (selection.kind === 'in-turn') return Math.min(1, able);
	const fraction = selection.kind === 'random' ? (selection.fraction ?? 1) : 1;
	return selection.count ?? Math.max(1, Math.round(fraction * able));
}

function chosenOf(selection: Selection, able: readonly Candidate[], choice: Choice): readonly Candidate[] {
	switch (selection.kind) {
		case 'all':
			return able;
		case 'available':
			return selectAvailable(able);
		case 'in-turn':
			return selectInTurn(able, choice);
		case 'random':
			return selectRandom(able, choice);
		case 'power-of-choice':
			return selectPowerOfChoice(selection, able, choice);
		case 'oort':
			return selectOort(selection, able, choice);
	}
}

/** Everybody who has data. */
export const selectAll = (candidates: readonly Candidate[]): CohortMember[] =>
	selectCohort({kind: 'all'}, candidates, {round: 0});
