/**
Calls the command line inside the test's own process, for what needs no process to be shown. One call at a time: what it
prints is caught by taking the place of the process's own writers.
*/
import {main} from '../../runtime/cli/main.ts';
import type {Ended} from './cutlayer.ts';

type Write = typeof process.stdout.write;

/** What `cutlayer` with these arguments prints and exits with; the process's own exit code stays as it was. */
export async function callCutlayer(args: readonly string[]): Promise<Ended> {
	const texts = {stdout: '', stderr: ''};
	const code = await call(args, (name, text) => {
		texts[name] += text;
	});
	return {code, ...texts};
}

/** The same without keeping what it prints: how many characters that were, and what it complained of. */
export async function callCutlayerUnheard(
	args: readonly string[],
): Promise<{code: number; bytes: number; stderr: string}> {
	let [bytes, stderr] = [0, ''];
	const code = await call(args, (name, text) => {
		if (name === 'stdout') bytes += text.length;
		else stderr += text;
	});
	return {code, bytes, stderr};
}

const names = ['stdout', 'stderr'] as const;

async function call(
	args: readonly string[],
	hear: (name: (typeof names)[number], text: string) => void,
): Promise<number> {
	const writers = names.map(name => process[name].write);
	const listeners = process.stdout.listeners('error');
	const before = process.exitCode;
	process.exitCode = undefined;
	for (const name of names) process[name].write = catching(text => hear(name, text));
	try {
		await main(['node', 'cutlayer', ...args]);
		return Number(process.exitCode ?? 0);
	} finally {
		for (const [index, name] of names.entries()) process[name].write = writers[index]!;
		for (const listener of process.stdout.listeners('error')) {
			if (!listeners.includes(listener)) process.stdout.off('error', listener as (error: Error) => void);
		}
		process.exitCode = before;
	}
}

/** A writer that hands on the text and calls back as the real one does. */
const catching =
	(take: (text: string) => void): Write =>
	(chunk: string | Uint8Array, ...rest: unknown[]) => {
		take(typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString());
		const done = rest.find(value => typeof value === 'function') as (() => void) | undefined;
		done?.();
		return true;
	};
