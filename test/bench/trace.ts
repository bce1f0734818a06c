/**
What recording, reading and replaying a trace cost on one core, without tensors. The traces are of tiny runs over the memory bus.
*/
import {execFile} from 'node:child_process';
import {join} from 'node:path';
import {promisify} from 'node:util';
import type {HostObserver} from '../../runtime/host/observer.ts';
import {replayTrace} from '../../runtime/replay/replay.ts';
import {openTraceFile} from '../../runtime/trace/file.ts';
import type {TraceRecord} from '../../runtime/trace/format.ts';
import {checkTrace} from '../../runtime/trace/invariants.ts';
import {Trace} from '../../runtime/trace/trace.ts';
import {TraceWriter, type Unnumbered} from '../../runtime/trace/write.ts';
import {recordRun, withFolder} from '../_helpers/recorded-run.ts';
import {type RecordedSmollm2, recordSmollm2} from '../_helpers/recorded-smollm2.ts';
import {smollm2Path} from '../_helpers/shared.ts';
import {recordsIn} from '../_helpers/traces.ts';
import type {Row} from './rows.ts';

/** CUTLAYER_BENCH_RECORDS=10000000 takes some minutes and 9 GB of the disk. */
const records = Number(process.env.CUTLAYER_BENCH_RECORDS ?? 200_000);
const writtenBar = 50_000;
const readBar = 200_000;
const seekBarMs = 100;
const seekBarMb = 200;
const digestBar = 0.012;
const fullBar = 0.06;
const replayBar = 1 / 20;

/** Rows in records a second and milliseconds. */
export const run = (): Promise<Row[]> =>
	withFolder(async folder => {
		await recordRun({folder, scenario: {training: {steps: 20, stepsPerRound: 5}}});
		// Long enough that ids, digests and handles of one record are not those of another.
		const long = join(folder, 'long');
		await recordRun({folder: long, scenario: {training: {steps: 400, stepsPerRound: 5}}});
		const samples = (await recordsIn(long)).filter(record => record.kind === 'input');
		const path = join(folder, 'big.trace');
		const written = await write(path, samples);
		const looked = await lookedThrough(path);
		const seeks = await seek(path);
		const whole = await readWhole(path);
		const {checked, replayed} = await checkedAndReplayed(folder);
		return [
			atLeast('trace: records written', written, writtenBar),
			atLeast('trace: records looked through, as ls does', looked, readBar),
			{name: 'trace: records read whole, as export does', value: whole, unit: '1/s of CPU'},
			{name: 'trace: records checked by the invariants', value: checked, unit: '1/s of CPU'},
			{name: 'trace: inputs replayed and compared', value: replayed, unit: '1/s of CPU'},
			atMost(
				`trace: seek in ${records} records, the slowest of ${seeks.length}`,
				'ms',
				Math.max(...seeks.map(one => one.seekMs)),
				seekBarMs,
			),
			atMost(
				'trace: resident memory of a process that seeks',
				'MB',
				Math.max(...seeks.map(one => one.rssMb)),
				seekBarMb,
			),
			{name: 'trace: cost of recording an input', value: await recordingUs(folder), unit: 'us'},
			...(smollm2Path ? await smollm2Rows(folder) : []),
		];
	});

/** What recording takes of a run of SmolLM2, on all threads, and its replay. */
async function smollm2Rows(folder: string): Promise<Row[]> {
	const digest = await recordSmollm2(folder, 'digest');
	const full = await recordSmollm2(folder, 'full');
	return [
		atMost('trace: recording at digest, of a SmolLM2 run', 'ratio', costOf(digest), digestBar),
		atMost('trace: recording at full, of a SmolLM2 run', 'ratio', costOf(full), fullBar),
		{name: 'trace: of that writing to the disk at digest', value: digest.writingMs / digest.runMs, unit: 'ratio'},
		{name: 'trace: of that writing to the disk at full', value: full.writingMs / full.runMs, unit: 'ratio'},
		atMost('trace: replaying a SmolLM2 run, of its time', 'ratio', digest.replayMs / digest.runMs, replayBar),
	];
}

const costOf = ({recordingMs, writingMs, runMs}: RecordedSmollm2) => (recordingMs + writingMs) / runMs;

const atLeast = (name: string, value: number, bar: number): Row => ({
	name,
	value,
	unit: '1/s of CPU',
	bar,
	holds: value >= bar,
});
const atMost = (name: string, unit: string, value: number, bar: number): Row => ({
	name,
	value,
	unit,
	bar,
	holds: value <= bar,
});

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

/** All that `trace ls --actor c1 --round 2` does but print: bytes, checksums, heads, and the records that it wants. */
async function lookedThrough(path: string): Promise<number> {
	const trace = await Trace.open(path);
	const startMs = cpuMs();
	let [count, wanted] = [0, 0];
	for await (const batch of trace.entryBatches()) {
		count += batch.length;
		for (const entry of batch)
			if (entry.head.actor === 'c1' && entry.head.round === 2 && entry.record().kind === 'input') wanted++;
	}
	const rate = perSecond(count, startMs);
	if (wanted === 0) throw new Error('Nothing was found in the benchmark trace');
	await trace.close();
	return rate;
}

async function readWhole(path: string): Promise<number> {
	const trace = await Trace.open(path);
	const startMs = cpuMs();
	let count = 0;
	for await (const batch of trace.streams[0]!.batches()) count += batch.length;
	const rate = perSecond(count, startMs);
	await trace.close();
	return rate;
}

/** Near the start, the end and in between, each in a process of its own. */
async function seek(path: string): Promise<{seekMs: number; rssMb: number}[]> {
	const script = new URL('seek.ts', import.meta.url).pathname;
	const found: {seekMs: number; rssMb: number}[] = [];
	for (const n of [1, Math.floor(records / 3) - 1, records - 777]) {
		const {stdout} = await promisify(execFile)(process.execPath, ['--import=tsx', script, path, String(n)]);
		const one = JSON.parse(stdout) as {n: number | null; seekMs: number; rssMb: number};
		if (one.n !== n) throw new Error(`Sought record ${n}, found ${one.n}`);
		found.push(one);
	}
	return found;
}

async function checkedAndReplayed(folder: string): Promise<{checked: number; replayed: number}> {
	const trace = await Trace.open(folder);
	let startMs = cpuMs();
	const {records: count, violations} = await checkTrace(trace);
	const checked = perSecond(count, startMs);
	startMs = cpuMs();
	const {inputs, divergence} = await replayTrace(trace);
	const replayed = perSecond(inputs, startMs);
	if (divergence || violations.length > 0) throw new Error("The benchmark's own trace is not kept to");
	await trace.close();
	return {checked, replayed};
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
