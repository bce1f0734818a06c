/**
What setup tells while it works, and how that is shown: a bar for each long step on a terminal, one line a step elsewhere.
Everything goes to stderr, so that stdout stays the result.
*/
import type {SingleBar} from 'cli-progress';
import {megabytes} from './cache.ts';

/** A step under way. `bytesDone` and `bytesTotal` are there for steps that move bytes. */
export type Progress = {readonly what: string; readonly bytesDone?: number; readonly bytesTotal?: number};

export type OnProgress = (progress: Progress) => void;

export const ignoreProgress: OnProgress = () => undefined;

/** Shows progress on stderr until `close` is called; nothing when `isQuiet`. */
export async function openProgress(isQuiet: boolean): Promise<{onProgress: OnProgress; close: () => void}> {
	if (isQuiet) return {onProgress: ignoreProgress, close: () => undefined};
	return process.stderr.isTTY ? bars() : lines();
}

function lines(): {onProgress: OnProgress; close: () => void} {
	let last = '';
	const onProgress: OnProgress = ({what, bytesTotal}) => {
		if (what === last) return;
		last = what;
		process.stderr.write(bytesTotal === undefined ? `${what}\n` : `${what} (${megabytes(bytesTotal)})\n`);
	};
	return {onProgress, close: () => undefined};
}

async function bars(): Promise<{onProgress: OnProgress; close: () => void}> {
	const {default: cliProgress} = await import('cli-progress');
	let bar: SingleBar | undefined;
	let shown = '';
	const close = () => {
		bar?.stop();
		bar = undefined;
	};
	const onProgress: OnProgress = ({what, bytesDone, bytesTotal}) => {
		if (what !== shown) close();
		if (bytesTotal === undefined || bytesDone === undefined) {
			if (what !== shown) process.stderr.write(`${what}\n`);
		} else if (bar) {
			bar.setTotal(bytesTotal);
			bar.update(Math.min(bytesDone, bytesTotal));
		} else {
			bar = new cliProgress.SingleBar({
				format: '{what} [{bar}] {percentage} %, {eta_formatted} left',
				stream: process.stderr,
				hideCursor: true,
			});
			bar.start(bytesTotal, bytesDone, {what});
		}
		shown = what;
	};
	return {onProgress, close};
}
