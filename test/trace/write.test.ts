import {writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import test from 'ava';
import {replayTrace} from '../../runtime/replay/replay.ts';
import {openTraceFile} from '../../runtime/trace/file.ts';
import type {TraceRecord} from '../../runtime/trace/format.ts';
import {TraceReader} from '../../runtime/trace/read.ts';
import {Trace} from '../../runtime/trace/trace.ts';
import {recordRun, withFolder} from '../_helpers/recorded-run.ts';
import {MemoryFile} from './memory-file.ts';
import {writerTo} from './writing.ts';

const input = (value: number, size = 10) =>
	({kind: 'input', t: value, actor: 'c0', event: {type: 'gradient', body: {text: 'x'.repeat(size)}}}) as const;

async function recordsOf(file: MemoryFile): Promise<TraceRecord[]> {
	return withFolder(async folder => {
		await writeFile(join(folder, 'a.trace'), file.bytes);
		const reader = await TraceReader.open(join(folder, 'a.trace'));
		const records: TraceRecord[] = [];
		for await (const record of reader.records()) records.push(record);
		await reader.close();
		return records;
	});
}

test('a disk that fills up at any byte leaves a trace that ends with a record that says so', async t => {
	for (let capacity = 700; capacity < 1400; capacity += 13) {
		const file = new MemoryFile();
		file.capacity = capacity;
		const notices: string[] = [];
		const writer = writerTo(file, {onNotice: text => notices.push(text)});
		for (let value = 0; value < 40; value++) {
			writer.append(input(value));
			// In batches of one to three.
			for (let turn = 0; turn < value % 3; turn++) await Promise.resolve();
		}
		await writer.close({reason: 'done'});
		const records = await recordsOf(file);
		const end = records.at(-1)!;
		t.is(end.kind === 'end' && end.reason, 'disk', `capacity ${capacity}`);
		t.true(records.length > 2);
		t.is(notices.length, 1);
		t.regex(notices[0]!, /training goes on without it/);
		t.true(file.bytes.byteLength <= capacity);
	}
});

test('a disk that is full from the start is told once and nothing throws', async t => {
	const file = new MemoryFile();
	file.capacity = 0;
	const notices: string[] = [];
	const writer = writerTo(file, {onNotice: text => notices.push(text)});
	writer.append(input(1));
	await writer.close({reason: 'done'});
	t.is(notices.length, 1);
	t.is(file.bytes.byteLength, 0);
});

test('a training whose disk fills up goes on to its end', t =>
	withFolder(async folder => {
		const notices: string[] = [];
		const file = new MemoryFile();
		file.capacity = 30_000;
		await recordRun({
			folder,
			recorder: {
				open: path => (path.endsWith('.trace') ? Promise.resolve(file) : openTraceFile(path)),
				onNotice: text => notices.push(text),
			},
		});
		const records = await recordsOf(file);
		t.is(records.at(-1)?.kind, 'end');
		t.is(notices.length, 1);
	}));

test('a slow disk loses records behind a bounded queue, says so once, and the trace tells how many', async t => {
	const file = new MemoryFile();
	let release: () => void = () => undefined;
	file.before = () => new Promise(resolve => (release = resolve));
	const notices: string[] = [];
	const writer = writerTo(file, {queueBytesMax: 2000, onNotice: text => notices.push(text)});
	const kept = Array.from({length: 60}, (_, value) => writer.append(input(value, 100))).filter(n => n !== undefined);
	t.true(kept.length < 20);
	file.before = () => Promise.resolve();
	release();
	await new Promise(setImmediate);
	writer.append(input(60));
	await writer.close({reason: 'done'});
	const records = await recordsOf(file);
	const gap = records.find(record => record.kind === 'gap');
	t.is(gap?.lost, 60 - kept.length);
	t.is(records.at(-2)?.t, 60);
	t.is(notices.length, 1);
});

test('a replay goes on after records that a slow disk lost', t =>
	withFolder(async folder => {
		const file = await openTraceFile(join(folder, 'slow'));
		let writes = 0;
		const slow = {
			...file,
			// Every third write takes long: what comes meanwhile finds no room.
			write: async (bytes: Uint8Array, position: number) => {
				if (++writes % 3 === 0) for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
				await real.write(bytes, position);
			},
		};
		const real = await openTraceFile(join(folder, 'a.trace'));
		await recordRun({
			folder,
			scenario: {training: {steps: 12, stepsPerRound: 3}},
			recorder: {
				queueBytesMax: 3000,
				open: path =>
					path.endsWith('.trace') ? Promise.resolve({...slow, close: () => real.close()}) : openTraceFile(path),
			},
		});
		await file.close();
		const trace = await Trace.open(join(folder, 'a.trace'));
		const {divergence, skipped, inputs} = await replayTrace(trace);
		await trace.close();
		t.is(divergence, undefined);
		t.true(skipped > 0 && inputs > 0, `${skipped} skipped, ${inputs} compared`);
	}));
