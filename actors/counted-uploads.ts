/**
The uploads of an aggregation, found by who sent them and in which round: a whole fleet's are asked for one by one. Pure.
*/
import type {Upload} from './fed-server-context.ts';

type Counted = {readonly client: string; readonly round: number};

/** Finds the upload of a client and round among those that count. */
export function uploadsByRound(counting: readonly Upload[]): (member: Counted) => Upload | undefined {
	const keyOf = ({client, round}: Counted) => `${client} ${round}`;
	const uploads = new Map<string, Upload>();
	// The first of two alike is the one that counts.
	for (const upload of counting) if (!uploads.has(keyOf(upload))) uploads.set(keyOf(upload), upload);
	return member => uploads.get(keyOf(member));
}
