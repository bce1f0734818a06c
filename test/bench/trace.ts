/**
What recording, reading and replaying a trace cost on one core, without tensors. The traces are of tiny runs over the memory bus.
*/
import {join} from 'node:path';
import type {HostObserver} from '../../runtime/host/observer.ts';
import {replayTrace} from '../../runtime/replay/replay.ts';
import {openTraceFile} from '../../runtime/trace/file.ts';
import type {TraceRecord} from '../../runtime/trace/format.ts';
import {Trace} from '../../runtime/trace/trace.ts';
import {TraceWriter, type Unnumbered} from '../../runtime/trace/write.ts';
import {recordRun, withFolder} from '../_helpers/recorded-run.ts';
import {recordSmollm2} from '../_helpers/recorded-smollm2.ts';
import {smollm2Path} from '../_helpers/shared.ts';
import {recordsIn} from '../_helpers/traces.ts';
import type {Row} from './rows.ts';

/** CUTLAYER_BENCH_RECORDS=10000000 takes some minutes and 7 GB of the disk. */
const records = Number(process.env.CUTLAYER_BENCH_RECORDS ?? 200_000);
const writtenBar = 50_000;
const readBar = 200_000;
const seekBarMs = 100;
const digestBar = 0.012;
const fullBar = 0.06;
const replayBar = 1 / 20;

/** Rows in records a second and milliseconds. */
export const run = (): Promise<Row[]> =>
	withFolder(async folder => {
		await recordRun({folder, scenario: {training: {steps: 20, stepsPerRound: 5}}});
		const samples = (await recordsIn(folder)).filter(record => record.kind === 'input');
		const path = join(folder, 'big.trace');
		const written = await write(path, samples);
		const {read, seekMs, rssMb} = await readBack(path);
		const replay = await replayed(folder);
		return [
			{
				name: 'trace: records written',
				value: written,
				unit: '1/s of CPU',
				bar: writtenBar,
				holds: written >= writtenBar,
			},
			{name: 'trace: records read', value: read, unit: '1/s of CPU', bar: readBar, holds: read >= readBar},
			{name: 'trace: seek to a record', value: seekMs, unit: 'ms', bar: seekBarMs, holds: seekMs <= seekBarMs},
			{name: 'trace: resident memory after reading', value: rssMb, unit: 'MB'},
			{name: 'trace: inputs replayed', value: replay, unit: '1/s of CPU'},
			{name: 'trace: cost of recording an input', value: await recordingUs(folder), unit: 'us'},
			...(smollm2Path ? await smollm2Rows(folder) : []),
		];
	});

/** What recording takes of the thread of actors and bus in a run of SmolLM2, as a share of the run, and its replay. */
async function smollm2Rows(folder: string): Promise<Row[]> {
	const digest = await recordSmollm2(folder, 'digest');
	const full = await recordSmollm2(folder, 'full');
	const row = (name: string, value: number, bar: number): Row => ({
		name,
		value,
		unit: 'ratio',
		bar,
		holds: value <= bar,
	});
	return [
		row('trace: recording at digest, of a SmolLM2 run', digest.recordingMs / digest.runMs, digestBar),
		row('trace: recording at full, of a SmolLM2 run', full.recordingMs / full.runMs, fullBar),
		row('trace: replaying a SmolLM2 run, of its time', digest.replayMs / digest.runMs, replayBar),
	];
}

/** Of processor time, so that a busy machine does not make it less. */
const cpuMs = () => {
	const {user, system} = process.cpuUsage();
	return (user + system) / 1000;
};
const perSecond = (count: number, startMs: number) => (1000 * count) / (cpuMs() - startMs);

/** As fast as one core goes, without losing one. */
async function write(path: string, samples: readonly TraceRecord[]): Promise<number> {
	const [file, index] = [await openTraceFile(path), await openTraceFile(path.replace(/trace$/, 'index'))];
	const header = {code: 'bench', scenarioHash: '0', seed: 1, backend: 'none', clock: 'wall', level: 'digest'} as const;
	const writer = new TraceWriter({file, index, header, onNotice: () => undefined, queueBytesMax: 1 << 30});
	const startMs = cpuMs();
	for (let n = 0; n < records; n++) {
		if (writer.append(samples[n % samples.length] as Unnumbered) === undefined) throw new Error('A record was lost');
		if (n % 1000 === 0) await new Promise(setImmediate);
	}
	await writer.close({reason: 'done'});
	return perSecond(records, startMs);
}

async function readBack(path: string): Promise<{read: number; seekMs: number; rssMb: number}> {
	const trace = await Trace.open(path);
	const startMs = cpuMs();
	let count = 0;
	for await (const batch of trace.streams[0]!.batches()) count += batch.length;
	const read = perSecond(count, startMs);
	await trace.close();
	const again = await Trace.open(path);
	const seekMs = performance.now();
	await again.streams[0]!.record(records - 777);
	const result = {read, seekMs: performance.now() - seekMs, rssMb: process.memoryUsage().rss / 1e6};
	await again.close();
	return result;
}

async function replayed(folder: string): Promise<number> {
	const trace = await Trace.open(folder);
	const startMs = cpuMs();
	const {inputs, divergence} = await replayTrace(trace);
	if (divergence) throw new Error(`The benchmark's own trace diverges: ${divergence.what}`);
	await trace.close();
	return perSecond(inputs, startMs);
}

/** The time inside the recorder's own calls. */
async function recordingUs(folder: string): Promise<number> {
	let [spentMs, inputs] = [0, 0];
	const timed = (watch: HostObserver): HostObserver =>
		Object.fromEntries(
			Object.entries(watch).map(([name, call]) => [
				name,
				(...told: unknown[]) => {
					const startMs = performance.now();
					(call as (...told: unknown[]) => void)(...told);
					spentMs += performance.now() - startMs;
					if (name === 'input') inputs++;
				},
			]),
		);
	await recordRun({folder: join(folder, 'timed'), scenario: {training: {steps: 100, stepsPerRound: 10}}, wrap: timed});
	return (1000 * spentMs) / inputs;
}
