/**
Selects the clients that can begin now. Pure.
*/
import type {Candidate} from './candidates.ts';

/** Those that are available; all when nobody is, so that a round never waits for nobody. */
export function selectAvailable(able: readonly Candidate[]): readonly Candidate[] {
	const available = able.filter(({isAvailable}) => isAvailable);
	return available.length > 0 ? available : able;
}
