import {copyFile, readFile, rm, writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import test from 'ava';
import {CutlayerError} from '../../protocols/errors.ts';
import type {TraceRecord} from '../../runtime/trace/format.ts';
import {TraceReader} from '../../runtime/trace/read.ts';
import {recordRun, withFolder} from '../_helpers/recorded-run.ts';
import {MemoryFile} from './memory-file.ts';
import {writerTo} from './writing.ts';

const input = (value: number) =>
	({kind: 'input', t: value, actor: 'c0', event: {type: 'gradient', body: {loss: value}}}) as const;

/** The records before the tail, and what stopped the reading. */
async function readAll(path: string): Promise<{records: TraceRecord[]; tornBytes: number; error: string | undefined}> {
	const records: TraceRecord[] = [];
	let reader: TraceReader | undefined;
	try {
		reader = await TraceReader.open(path);
		const all = reader.records();
		for (;;) {
			const {done, value} = await all.next();
			if (done) return {records, tornBytes: value.tornBytes, error: undefined};
			records.push(value);
		}
	} catch (error) {
		if (!(error instanceof CutlayerError) || error.code !== 'trace-invalid') throw error;
		return {records, tornBytes: 0, error: error.message};
	} finally {
		await reader?.close();
	}
}

async function smallTrace(path: string, count: number): Promise<Uint8Array> {
	const file = new MemoryFile();
	const writer = writerTo(file);
	for (let value = 0; value < count; value++) writer.append(input(value));
	await writer.close({reason: 'done'});
	await writeFile(path, file.bytes);
	return file.bytes;
}

test('records come back as they were written, with NaN and in order', t =>
	withFolder(async folder => {
		const file = new MemoryFile();
		const writer = writerTo(file);
		writer.append({
			kind: 'input',
			t: 1,
			actor: 'c0',
			event: {type: 'x', body: {loss: Number.NaN, text: 'ü', none: null}},
		});
		writer.append(input(2));
		await writer.close({reason: 'done'});
		await writeFile(join(folder, 'a.trace'), file.bytes);
		const {records, error} = await readAll(join(folder, 'a.trace'));
		t.is(error, undefined);
		t.deepEqual(records, [
			{kind: 'input', n: 1, t: 1, actor: 'c0', event: {type: 'x', body: {loss: Number.NaN, text: 'ü', none: null}}},
			{n: 2, ...input(2)},
			{kind: 'end', n: 3, t: 2, reason: 'done'},
		] as TraceRecord[]);
	}));

test('every single flipped bit of a trace is detected', t =>
	withFolder(async folder => {
		const path = join(folder, 'a.trace');
		const bytes = await smallTrace(path, 3);
		const whole = (await readAll(path)).records;
		let checked = 0;
		for (let bit = 0; bit < bytes.byteLength * 8; bit++) {
			const changed = bytes.slice();
			changed[bit >> 3]! ^= 1 << (bit & 7);
			await writeFile(path, changed);
			const {records, error} = await readAll(path);
			if (error === undefined) t.fail(`bit ${bit} of ${bytes.byteLength * 8} went unnoticed`);
			t.deepEqual(records, whole.slice(0, records.length));
			checked++;
		}
		t.is(checked, bytes.byteLength * 8);
	}));

test('a trace cut at any byte is read to its last whole record', t =>
	withFolder(async folder => {
		const path = join(folder, 'a.trace');
		const bytes = await smallTrace(path, 4);
		const {records: whole} = await readAll(path);
		const ends: number[] = [];
		for (let length = 0; length < bytes.byteLength; length++) {
			await writeFile(path, bytes.subarray(0, length));
			const {records, tornBytes, error} = await readAll(path);
			t.deepEqual(records, whole.slice(0, records.length));
			if (error === undefined && tornBytes === 0) ends.push(records.length);
			// Only inside the name and the header is there nothing to read.
			if (error !== undefined) t.is(records.length, 0);
		}
		t.deepEqual(ends, [0, 1, 2, 3, 4]);
	}));

test('another major version is refused by name, a field of a later minor version is ignored', t =>
	withFolder(async folder => {
		const path = join(folder, 'a.trace');
		const bytes = await smallTrace(path, 1);
		await writeFile(path, Buffer.concat([Buffer.from('cutlayer-trace 2\n'), bytes.subarray(17)]));
		t.regex((await readAll(path)).error!, /trace format 2, this version of Cutlayer reads format 1/);
		const file = new MemoryFile();
		const writer = writerTo(file);
		writer.append({...input(1), inventedLater: {deep: [1]}} as ReturnType<typeof input>);
		await writer.close({reason: 'done'});
		await writeFile(path, file.bytes);
		const {records, error} = await readAll(path);
		t.is(error, undefined);
		t.is(records.length, 2);
	}));

test('what is no trace is refused with what it begins with', t =>
	withFolder(async folder => {
		const path = join(folder, 'a.trace');
		await writeFile(path, '{"kind":"step"}');
		t.regex((await readAll(path)).error!, /no trace: .* begins with "\{/);
	}));

test('a damaged record is named with its number and its byte', t =>
	withFolder(async folder => {
		const path = join(folder, 'a.trace');
		const bytes = await smallTrace(path, 5);
		bytes[bytes.byteLength - 60]! ^= 1;
		await writeFile(path, bytes);
		const {records, error} = await readAll(path);
		t.is(records.at(-1)?.n, 4);
		t.regex(error!, /record 5 at byte \d+ is damaged/);
	}));

test('any record is found with the index, without it and with a wrong one', t =>
	withFolder(async folder => {
		const path = join(folder, 'a.trace');
		const [file, index] = [new MemoryFile(), new MemoryFile()];
		const writer = writerTo(file, {index});
		for (let value = 0; value < 3500; value++) writer.append(input(value));
		await writer.close({reason: 'done'});
		await writeFile(path, file.bytes);
		const wrong = new Float64Array([0, 5, -1, Number.NaN]);
		for (const bytes of [index.bytes, undefined, new Uint8Array(wrong.buffer), index.bytes.subarray(0, 21)]) {
			await rm(join(folder, 'a.index'), {force: true});
			if (bytes) await writeFile(join(folder, 'a.index'), bytes);
			const reader = await TraceReader.open(path);
			for (const n of [1, 999, 1000, 1001, 2500, 3500]) t.is((await reader.record(n))?.t, n - 1);
			t.is((await reader.record(3501))?.kind, 'end');
			t.is(await reader.record(3502), undefined);
			const back: number[] = [];
			for await (const {n} of reader.backwards(2001)) if (back.push(n) === 3) break;
			t.deepEqual(back, [2001, 2000, 1999]);
			await reader.close();
		}
	}));

test('a recorded run is read whole, and a copy of it that lost its tail up to there', t =>
	withFolder(async folder => {
		await recordRun({folder});
		const path = join(folder, 'trace', 'run.trace');
		const {records, error} = await readAll(path);
		t.is(error, undefined);
		t.is(records.at(-1)?.kind, 'end');
		t.deepEqual(
			records.map(({n}) => n),
			records.map((_, index) => index + 1),
		);
		const copy = join(folder, 'copy.trace');
		await copyFile(path, copy);
		const bytes = await readFile(path);
		await writeFile(copy, bytes.subarray(0, bytes.byteLength / 2));
		const cut = await readAll(copy);
		t.is(cut.error, undefined);
		t.true(cut.records.length > 10 && cut.records.length < records.length);
	}));
