/**
A short run of SmolLM2 with its recorder's own time beside the run's, and the time of its replay.
*/
import {mkdir, readdir, readFile} from 'node:fs/promises';
import {join} from 'node:path';
import {runScenario} from '../../runtime/cli/run-scenario.ts';
import type {HostObserver} from '../../runtime/host/observer.ts';
import {replayTrace} from '../../runtime/replay/replay.ts';
import {openTraceFile} from '../../runtime/trace/file.ts';
import {frameOf, type TraceRecord} from '../../runtime/trace/format.ts';
import {TraceRecorder} from '../../runtime/trace/record.ts';
import {TensorArchive} from '../../runtime/trace/tensors.ts';
import type {Trace} from '../../runtime/trace/trace.ts';
import {withTrace} from './traces.ts';

export type RecordedSmollm2 = {
	readonly runMs: number;
	/** Inside the recorder's calls, on the actors' thread: digests, packing, checksums. */
	readonly recordingMs: number;
	/** Processor time that writing its bytes takes on all threads, from writing them once more. */
	readonly writingMs: number;
	readonly replayMs: number;
};

/** Three clients, six steps in rounds of three, over the memory bus; leaves its folder inside `folder`. */
export async function recordSmollm2(folder: string, level: 'digest' | 'full'): Promise<RecordedSmollm2> {
	const out = join(folder, `smollm2-${level}`);
	const timed = timeRecorder();
	const set = ['training.steps=6', 'training.stepsPerRound=3', 'data.validationRows=8'];
	let runMs = performance.now();
	try {
		await runScenario('quickstart', {
			set,
			out,
			trace: level,
			bus: 'memory',
			processes: false,
			json: false,
			quiet: true,
		});
		runMs = performance.now() - runMs;
	} finally {
		timed.restore();
	}
	const replayStart = performance.now();
	const {divergence} = await withTrace(out, trace => replayTrace(trace));
	if (divergence) throw new Error(`The replay of ${out} parts: ${divergence.what}`);
	const replayMs = performance.now() - replayStart;
	return {
		runMs,
		recordingMs: timed.spentMs(),
		writingMs: await writeAgain(out, join(folder, `again-${level}`)),
		replayMs,
	};
}

/** Every record in a write of its own, which is the most that a run does, and every tensor; ms of processor time. */
async function writeAgain(from: string, to: string): Promise<number> {
	const trace = join(from, 'trace');
	const names = (await readdir(trace, {recursive: true})).filter(name => /[0-9a-f]{32}$/.test(name));
	const tensors = await Promise.all(names.map(async name => [name, await readFile(join(trace, name))] as const));
	const frames = (await withTrace(from, recordsOf)).map(frameOf);
	await mkdir(to, {recursive: true});
	const file = await openTraceFile(join(to, 'run.trace'));
	const archive = await TensorArchive.open(join(to, 'tensors'), {onNotice: () => undefined});
	const start = process.cpuUsage();
	let at = 0;
	for (const frame of frames) {
		await file.write(frame, at);
		at += frame.byteLength;
	}
	for (const [name, bytes] of tensors) archive.put(name.slice(-32), {dtype: 'f32', shape: [], bytes});
	await archive.close();
	await file.close();
	const {user, system} = process.cpuUsage(start);
	return (user + system) / 1000;
}

async function recordsOf(trace: Trace): Promise<TraceRecord[]> {
	const records: TraceRecord[] = [];
	for await (const {record} of trace.records()) records.push(record);
	return records;
}

/** Puts a watch around every call of recorders that open from now on. */
function timeRecorder() {
	const {prototype} = TraceRecorder;
	const watch = prototype.watch;
	let spentMs = 0;
	const around = (observer: HostObserver): HostObserver =>
		new Proxy(observer, {
			get(target, name) {
				const member: unknown = Reflect.get(target, name);
				if (typeof member !== 'function') return member;
				return (...told: unknown[]) => {
					const startMs = performance.now();
					try {
						return member.apply(target, told) as unknown;
					} finally {
						spentMs += performance.now() - startMs;
					}
				};
			},
		});
	prototype.watch = function (this: TraceRecorder) {
		return around(watch.call(this)) as ReturnType<typeof watch>;
	};
	return {
		spentMs: () => spentMs,
		restore: () => {
			prototype.watch = watch;
		},
	};
}
