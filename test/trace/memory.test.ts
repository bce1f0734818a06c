/**
That reading a trace needs the same memory however long it is: every reading command in a process whose heap is smaller than the
trace.
*/
import {execFile} from 'node:child_process';
import {open} from 'node:fs/promises';
import {join} from 'node:path';
import {promisify} from 'node:util';
import test from 'ava';
import {frameOf, magicOf, type TraceHeader, type TraceRecord} from '../../runtime/trace/format.ts';
import {withFolder} from '../_helpers/recorded-run.ts';
import {recordsIn, withTrace} from '../_helpers/traces.ts';

const kept = new URL('../traces/split-lora.trace', import.meta.url).pathname;
const reader = new URL('../_helpers/read-a-trace.ts', import.meta.url).pathname;
const loader = new URL('../../runtime/loader/register.mjs', import.meta.url).pathname;

/** Of the old generation, in MiB; what the command line itself needs is about half. */
const heapMb = 64;
const traceMb = 128;
/** What the process needs beside its heap: code, buffers for reading, and the young generation. */
const besideMb = 140;

/** A kept run, then long records of it until the file is `traceMb` large. */
async function writeLong(path: string): Promise<number> {
	const header = await withTrace(kept, async trace => trace.streams[0]!.header);
	const records = (await recordsIn(kept)).slice(0, -1);
	const file = await open(path, 'w');
	let [bytes, n] = [0, 1];
	const write = async (record: TraceHeader | TraceRecord) => {
		const frame = frameOf(record);
		await file.write(frame);
		bytes += frame.byteLength;
	};
	await file.write(magicOf(1));
	await write(header);
	for (const record of records) await write({...record, n: n++});
	const {t} = records.at(-1)!;
	for (; bytes < traceMb << 20; n++) {
		const found = `${n} `.repeat(10_000);
		await write({
			kind: 'dropped',
			n,
			t,
			actor: 'main',
			from: 'c1',
			code: 'malformed',
			field: 'body',
			found,
			expected: 'less',
		});
	}
	await write({kind: 'end', n, t, reason: 'done'});
	await file.close();
	return n;
}

test('memory used by reading does not grow with the trace', t =>
	withFolder(async folder => {
		const path = join(folder, 'long.trace');
		const last = await writeLong(path);
		const commands = [
			['trace', 'ls', path],
			['trace', 'ls', path, '--json', '--actor', 'main'],
			['trace', 'show', path, `${last}`],
			['trace', 'check', path],
			['trace', 'diff', path, path],
			...['jsonl', 'csv', 'perfetto'].map(format => ['trace', 'export', path, '--format', format]),
			['trace', 'follow', path],
			['replay', path],
		];
		const flags = [`--max-old-space-size=${heapMb}`, `--import=${loader}`, reader, JSON.stringify(commands)];
		const {stdout} = await promisify(execFile)(process.execPath, flags, {maxBuffer: 1 << 24});
		const found = JSON.parse(stdout) as {command: string; code: number; bytes: number; rssMb: number}[];
		t.deepEqual(
			found.map(({command}) => command),
			commands.map(command => command.join(' ')),
		);
		for (const {command, code, rssMb} of found) {
			t.is(code, 0, command);
			t.true(rssMb < heapMb + besideMb, `${command}: ${rssMb} MB`);
		}
		// All of it was read.
		t.true(found.find(({command}) => command.endsWith('jsonl'))!.bytes > 0.9 * (traceMb << 20));
	}));
