/**
The run that a what-if goes out from: what its folder says of it, and whether its trace begins as the other's does.
*/
import {readFile} from 'node:fs/promises';
import {join, resolve} from 'node:path';
import {checkScenario} from '../../protocols/check-scenario.ts';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import type {TraceHeader} from '../trace/format.ts';
import {commandsOf, Trace} from '../trace/trace.ts';

export type ParentRun = {
	readonly folder: string;
	readonly run: string;
	readonly scenario: Scenario;
	readonly clock: 'wall' | 'virtual';
	readonly header: TraceHeader;
	/** `tensorflow`, `wasm` or `cpu`, as its `config.json` has it first. */
	readonly backend: string;
};

type Config = {
	readonly run?: unknown;
	readonly scenario?: unknown;
	readonly clock?: unknown;
	readonly backend?: unknown;
	readonly whatIf?: {readonly parent?: unknown};
};

/** Throws `usage` for what is no run, and for what is itself a what-if. */
export async function readParent(folder: string): Promise<ParentRun> {
	const path = join(folder, 'config.json');
	const config = await readConfig(path);
	const {run, scenario, clock, backend, whatIf} = config;
	if (whatIf) {
		throw new CutlayerError(
			'usage',
			`The run in ${folder} is itself a what-if of ${String(whatIf.parent)}: ask that run, with the changes of both`,
		);
	}
	return {
		folder: resolve(folder),
		run: String(run),
		scenario: checkScenario(scenario, path),
		clock: clock === 'virtual' ? 'virtual' : 'wall',
		header: await headerOf(folder),
		backend: String(backend),
	};
}

async function readConfig(path: string): Promise<Config> {
	try {
		return JSON.parse(await readFile(path, 'utf8')) as Config;
	} catch (error) {
		throw new CutlayerError('usage', `Cannot read the run at ${path}: ${errorText(error)}; give the folder of a run`, {
			cause: error,
		});
	}
}

async function headerOf(folder: string): Promise<TraceHeader> {
	const trace = await Trace.open(folder);
	try {
		return trace.streams[0]!.header;
	} finally {
		await trace.close();
	}
}

/** The time of a record, ms. Throws `usage` when the run has none of that number. */
export async function timeOfRecord(folder: string, n: number): Promise<number> {
	const trace = await Trace.open(folder);
	try {
		return (await trace.find(String(n))).record.t;
	} finally {
		await trace.close();
	}
}

/** The number of the first record at `ms` or later; the last when there is none. */
export async function recordAtTime(folder: string, ms: number): Promise<number> {
	const trace = await Trace.open(folder);
	try {
		let n = 1;
		for await (const {head} of trace.entries()) {
			n = head.n;
			if (head.t >= ms) break;
		}
		return n;
	} finally {
		await trace.close();
	}
}

/** The first record in which round `round` was opened. Throws `usage` when it never was. */
export async function recordOfRound(folder: string, round: number): Promise<number> {
	const trace = await Trace.open(folder);
	try {
		for await (const entry of trace.entries()) {
			if (!entry.head.verbs.includes('round-opened')) continue;
			const record = entry.record();
			const isOpened = commandsOf(record).some(
				command =>
					'send' in command &&
					command.send === 'round-opened' &&
					(command.body as {round?: unknown} | null)?.round === round,
			);
			if (isOpened) return record.n;
		}
	} finally {
		await trace.close();
	}
	throw new CutlayerError('usage', `Round ${round} was never opened in ${folder}: give an earlier --round`);
}

/** The number of the first record that differs before record `at`, or nothing when both begin the same. */
export async function firstDifference(folderA: string, folderB: string, at: number): Promise<number | undefined> {
	const [a, b] = [await Trace.open(folderA), await Trace.open(folderB)];
	try {
		const [left, right] = [a.records(), b.records()];
		for (let n = 1; n < at; n++) {
			const [one, two] = [await left.next(), await right.next()];
			if (one.done || two.done || JSON.stringify(one.value.record) !== JSON.stringify(two.value.record)) return n;
		}
		return undefined;
	} finally {
		await a.close();
		await b.close();
	}
}
