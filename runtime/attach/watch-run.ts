/**
Notices that a run or its broker is gone, for who takes part in it from elsewhere: a run that does not answer three times in a row
has ended without a word that reached here, and a broker is waited for no longer than its lease.
*/
import {errorText} from '../../protocols/errors.ts';
import type {Bus} from '../../protocols/ports.ts';
import {askRuns} from './ask.ts';
import type {Speaker} from './voice.ts';

export type WatchOptions = {
	readonly bus: Bus;
	readonly speaker: Speaker;
	readonly run: string;
	/** Between two questions; default 3,000. */
	readonly everyMs?: number;
	/** How long a broker that is away is waited for; default 60,000. */
	readonly brokerLeaseMs?: number | undefined;
	/** `problem`: why the broker is given up; without it the run is silent. */
	readonly onGone: (problem?: string) => void;
};

const missesMax = 3;

/** Asks until it is stopped, or the run is gone. */
export function watchRun({bus, speaker, run, everyMs = 3000, brokerLeaseMs, onGone}: WatchOptions): () => void {
	let misses = 0;
	let timer: NodeJS.Timeout | undefined;
	let isStopped = false;
	const ask = async () => {
		const asked = askRuns({bus, speaker, run, waitMs: everyMs, brokerLeaseMs});
		const found = await asked.then(runs => runs.length > 0, errorText);
		if (isStopped) return;
		if (typeof found === 'string') return onGone(found);
		misses = found ? 0 : misses + 1;
		if (misses >= missesMax) onGone();
		else next();
	};
	const next = () => {
		timer = setTimeout(() => void ask(), everyMs);
	};
	next();
	return () => {
		isStopped = true;
		clearTimeout(timer);
	};
}
