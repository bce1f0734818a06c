import {mkdir, writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import test from 'ava';
import {replayTrace} from '../../runtime/replay/replay.ts';
import {Stepper} from '../../runtime/replay/stepper.ts';
import {frameOf, magicOf, type TraceRecord} from '../../runtime/trace/format.ts';
import type {MergedReading} from '../../runtime/trace/merge.ts';
import {SenderIndex} from '../../runtime/trace/senders.ts';
import {commandsOf} from '../../runtime/trace/trace.ts';
import {recordRun, withFolder} from '../_helpers/recorded-run.ts';
import {recordsIn, withTrace} from '../_helpers/traces.ts';

/** The records of some actors as a process of its own would have written them, with its clock behind or ahead. */
function streamOf(records: readonly TraceRecord[], actors: readonly string[], skewMs: number): Uint8Array {
	const own = records.filter(record => 'actor' in record && actors.includes(record.actor));
	const header = {code: 'test', scenarioHash: '0', seed: 1, backend: 'none', clock: 'wall', level: 'digest'} as const;
	const format = {major: 1, minor: 0};
	const frames = own.map((record, index) => {
		const {by: _, ...rest} = record as TraceRecord & {by?: number};
		return frameOf({...rest, n: index + 1, t: record.t + skewMs} as TraceRecord);
	});
	return Buffer.concat([Buffer.from(magicOf(1)), frameOf({kind: 'header', n: 0, format, ...header}), ...frames]);
}

/** A run in three streams whose clocks do not agree; its records as one stream had them. */
async function recordInThree(folder: string): Promise<TraceRecord[]> {
	await recordRun({folder: join(folder, 'one')});
	const records = await recordsIn(join(folder, 'one'));
	await mkdir(join(folder, 'trace'));
	const streams: [string, string[], number][] = [
		['main', ['main'], 500],
		['client-2', ['c0', 'c1', 'c2'], -500],
		['fed', ['fed', 'evaluator'], 0],
	];
	for (const [name, actors, skewMs] of streams)
		await writeFile(join(folder, 'trace', `${name}.trace`), streamOf(records, actors, skewMs));
	return records;
}

test('streams of several processes are read so that no message comes before it was sent, whatever their clocks say', t =>
	withFolder(async folder => {
		const records = await recordInThree(folder);
		await withTrace(folder, async trace => {
			const sent = new Set<string>();
			let count = 0;
			for await (const {record} of trace.records()) {
				count++;
				if (record.kind === 'input' && record.message !== undefined) t.true(sent.has(record.message));
				for (const command of commandsOf(record)) if ('send' in command) sent.add(command.id);
			}
			t.is(count, records.filter(record => 'actor' in record).length);
			const {divergence, actors} = await replayTrace(trace);
			t.is(divergence, undefined);
			t.is(actors.length, 6);
			const clients = trace.streams.find(({name}) => name === 'client-2')!;
			for await (const record of clients.records()) {
				if (record.kind !== 'input' || record.event.type !== 'gradient') continue;
				const [cause] = await trace.causesOf(await trace.find(`client-2:${record.n}`));
				t.is(cause?.stream.name, 'main');
				t.is(cause?.record.kind === 'input' && cause.record.event.type, 'mainStep.done');
				break;
			}
		});
	}));

/** The streams and numbers of the records that are left of a reading. */
async function rest(reading: MergedReading, countMax: number): Promise<string[]> {
	const labels: string[] = [];
	for (let batch = await reading.next(countMax); batch.length > 0; batch = await reading.next(countMax))
		labels.push(...batch.map(({stream, head}) => `${stream.name}:${head.n}`));
	return labels;
}

test('a merged reading goes on from any place as if it had not stopped, into the next part of a resumed run too', t =>
	withFolder(async folder => {
		const records = await recordInThree(folder);
		await writeFile(join(folder, 'trace', 'main.2.trace'), streamOf(records, ['main'], -9000));
		await withTrace(folder, async trace => {
			const all = await rest(trace.reading(), 512);
			t.deepEqual(
				all.slice(-3).map(label => label.split(':')[0]),
				['main.2', 'main.2', 'main.2'],
			);
			const reading = trace.reading();
			for (let done = 0; done <= all.length; done++) {
				if (done % 7 === 0 || done > all.length - 3)
					t.deepEqual(await rest(trace.reading(reading.place), 40), all.slice(done));
				const next = await reading.next(1);
				t.is(next.length, done < all.length ? 1 : 0);
			}
			const stepper = new Stepper(trace, {markInterval: 10});
			const there = await stepper.to(record => record.n === 40);
			for (let back = 0; back < 25; back++) t.is((await stepper.previous())?.difference, undefined);
			for (let on = 0; on < 25; on++) await stepper.next();
			t.is(trace.label(stepper.last!.located), trace.label(there!.located));
			await stepper.stop();
		});
	}));

test('the senders of all messages are found in one pass over each stream, with as few places as are allowed', t =>
	withFolder(async folder => {
		await recordInThree(folder);
		await withTrace(folder, async trace => {
			let passes = 0;
			for (const stream of trace.streams) {
				const read = stream.entryBatches.bind(stream);
				stream.entryBatches = range => {
					if (range === undefined) passes++;
					return read(range);
				};
			}
			const sent = new Map<string, string>();
			for await (const {head, stream} of trace.entries())
				for (const id of head.sent) sent.set(id, `${stream.name}:${head.n}`);
			passes = 0;
			for await (const located of trace.records()) {
				const {record} = located;
				if (record.kind !== 'input' || record.message === undefined) continue;
				const [cause] = await trace.causesOf(located);
				t.is(cause && trace.label(cause), sent.get(record.message));
			}
			t.is(passes, 3);
			const [fed] = trace.streams.filter(({name}) => name === 'fed');
			const bounded = await SenderIndex.of(fed!, {placesMax: 2, blockRecords: 4});
			t.true(bounded.places <= 2);
			for (const [id, label] of sent) {
				const found = await bounded.find(id);
				t.is(found && `fed:${found.head.n}`, label.startsWith('fed:') ? label : undefined);
			}
		});
	}));
