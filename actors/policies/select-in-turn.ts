/**
One client a round, in the order of their ids: vanilla split learning (Gupta and Raskar, 2018), where the head is handed from one
client to the next. Pure.
*/
import type {Candidate, Choice} from './candidates.ts';

/** The client whose turn it is, of those that are here; nobody when nobody is. */
export const selectInTurn = (able: readonly Candidate[], {round}: Pick<Choice, 'round'>): readonly Candidate[] =>
	able.slice(round % Math.max(1, able.length)).slice(0, 1);
