/**
The trace of a run: opens the stream of this process in the run folder and closes it with the reason why the run ended.
*/
import {readdir} from 'node:fs/promises';
import {join} from 'node:path';
import type {Clock} from '../../protocols/ports.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import type {HostObserver} from '../host/observer.ts';
import type {EndRecord, TraceHeader, TraceLevel} from '../trace/format.ts';
import {hashOf, TraceRecorder} from '../trace/record.ts';
import {runFiles} from './folder.ts';
import {fullDisk} from './full-disk.ts';

/** What is recorded, and what of the run's surroundings equal runs share. */
export type TraceOptions = {
	readonly level: TraceLevel;
	/** Version of Cutlayer. */
	readonly code: string;
	/** Backend and its version. */
	readonly backend: string;
	/** Stands for what is run; default the hash of the scenario. */
	readonly scenarioHash?: string;
};

export type TracingOptions = TraceOptions & {
	readonly scenario: Scenario;
	/** The run folder. */
	readonly folder: string;
	readonly clock: Clock;
	readonly clockKind: TraceHeader['clock'];
	/** Names this process among those that record into the folder; default `run`. */
	readonly process?: string;
	/** Told of the number of each record. */
	readonly onRecord?: ((n: number) => void) | undefined;
	readonly onNotice: (text: string) => void;
};

export type Tracing = {
	/** An observer for one host. */
	watch(): HostObserver;
	close(reason: EndRecord['reason']): Promise<void>;
};

/** Begins the stream; nothing for level `off`. A resumed run begins a new one beside the old. Throws `disk`. */
export async function openTracing(options: TracingOptions): Promise<Tracing | undefined> {
	const {level, scenario, code, backend, clock, clockKind, process: name = 'run', onNotice, onRecord} = options;
	const scenarioHash = options.scenarioHash ?? hashOf(scenario);
	if (level === 'off') return undefined;
	const folder = join(options.folder, runFiles.trace);
	const full = scenario.faults.find(fault => fault.kind === 'disk-full');
	return TraceRecorder.open({
		folder,
		stream: await freeStream(folder, name),
		header: {code, scenarioHash, seed: scenario.seed, backend, clock: clockKind, level},
		now: () => clock.now(),
		onNotice,
		...(onRecord && {onRecord}),
		...(full && {open: fullDisk(full.atMs, clock)}),
	});
}

/** `run`, then `run.2`, `run.3`, ... for each time the run went on. */
async function freeStream(folder: string, name: string): Promise<string> {
	const taken = (await readdir(folder).catch(() => [])).filter(
		file => file === `${name}.trace` || (file.startsWith(`${name}.`) && /\.\d+\.trace$/.test(file)),
	);
	return taken.length === 0 ? name : `${name}.${taken.length + 1}`;
}
