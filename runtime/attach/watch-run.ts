/**
Notices that a run is gone, for who takes part in it from elsewhere: a run that does not answer three times in a row has ended
without a word that reached here.
*/
import type {Bus} from '../../protocols/ports.ts';
import {askRuns} from './ask.ts';
import type {Speaker} from './voice.ts';

export type WatchOptions = {
	readonly bus: Bus;
	readonly speaker: Speaker;
	readonly run: string;
	/** Between two questions; default 3,000. */
	readonly everyMs?: number;
	readonly onGone: () => void;
};

const missesMax = 3;

/** Asks until it is stopped, or the run is gone. */
export function watchRun({bus, speaker, run, everyMs = 3000, onGone}: WatchOptions): () => void {
	let misses = 0;
	let timer: NodeJS.Timeout | undefined;
	let isStopped = false;
	const ask = async () => {
		const [found] = await askRuns({bus, speaker, run, waitMs: everyMs}).catch(() => []);
		if (isStopped) return;
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
