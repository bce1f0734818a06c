/**
A short run of SmolLM2 with its recorder's own time beside the run's, and the time of its replay.
*/
import {join} from 'node:path';
import {runScenario} from '../../runtime/cli/run-scenario.ts';
import type {HostObserver} from '../../runtime/host/observer.ts';
import {replayTrace} from '../../runtime/replay/replay.ts';
import {TraceRecorder} from '../../runtime/trace/record.ts';
import {withTrace} from './traces.ts';

export type RecordedSmollm2 = {
	readonly runMs: number;
	/** Inside the recorder's calls, on the actors' thread: digests, packing, checksums. */
	readonly recordingMs: number;
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
	return {runMs, recordingMs: timed.spentMs(), replayMs: performance.now() - replayStart};
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
