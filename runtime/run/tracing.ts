/**
The trace of a run: opens the stream of this process in the run folder and closes it with the reason why the run ended.
*/
import {readdir} from 'node:fs/promises';
import {basename, join} from 'node:path';
import {CutlayerError} from '../../protocols/errors.ts';
import type {Bus, Clock} from '../../protocols/ports.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import {traceSubject} from '../../protocols/trace-parts.ts';
import type {HostObserver} from '../host/observer.ts';
import {openTraceFile, type TraceFile} from '../trace/file.ts';
import type {EndRecord, TraceHeader, TraceLevel} from '../trace/format.ts';
import {hashOf, TraceRecorder} from '../trace/record.ts';
import {runFiles} from './folder.ts';
import {fullDisk} from './full-disk.ts';
import {type KeepingBus, TracePublisher} from './trace-publisher.ts';

/** What is recorded, and what of the run's surroundings equal runs share. */
export type TraceOptions = {
	readonly level: TraceLevel;
	/** Version of Cutlayer. */
	readonly code: string;
	/** Backend and its version. */
	readonly backend: string;
	/** Stands for what is run; default the hash of the scenario. */
	readonly scenarioHash?: string;
	/** Published as well, for \`cutlayer trace pull\`. */
	readonly isPublished?: boolean;
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
	/** The run's id on the bus, and a connection to publish to, which is closed with the trace. */
	readonly run: string;
	readonly connect: (name: string) => Promise<Bus>;
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
	const publisher = options.isPublished ? await openPublisher(options, name) : undefined;
	const recorder = await TraceRecorder.open({
		folder,
		stream: await freeStream(folder, name),
		header: {code, scenarioHash, seed: scenario.seed, backend, clock: clockKind, level},
		now: () => clock.now(),
		onNotice,
		...(onRecord && {onRecord}),
		...(full && {open: fullDisk(full.atMs, clock)}),
		...(publisher && {open: path => openPublished(path, publisher)}),
	});
	return {
		watch: () => recorder.watch(),
		close: async reason => {
			await recorder.close(reason);
			await publisher?.close();
		},
	};
}

async function openPublisher({run, connect, onNotice}: TracingOptions, name: string): Promise<TracePublisher> {
	const bus = await connect('trace');
	if (!isKeeping(bus))
		throw new CutlayerError('usage', 'Expected a broker that can keep the trace, found a bus without streams');
	return new TracePublisher({bus, subject: traceSubject(run, name), onNotice});
}

/** Only a broker with streams keeps what is published. */
const isKeeping = (bus: Bus): bus is Bus & KeepingBus => bus.keep !== undefined;

/** The index can be made again and stays here. */
async function openPublished(path: string, publisher: TracePublisher): Promise<TraceFile> {
	const file = await openTraceFile(path);
	return path.endsWith('.trace') ? publisher.watched(file, basename(path)) : file;
}

/** `run`, then `run.2`, `run.3`, ... for each time the run went on. */
async function freeStream(folder: string, name: string): Promise<string> {
	const taken = (await readdir(folder).catch(() => [])).filter(
		file => file === `${name}.trace` || (file.startsWith(`${name}.`) && /\.\d+\.trace$/.test(file)),
	);
	return taken.length === 0 ? name : `${name}.${taken.length + 1}`;
}
