import {mkdir, writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import test from 'ava';
import {replayTrace} from '../../runtime/replay/replay.ts';
import {frameOf, magicOf, type TraceRecord} from '../../runtime/trace/format.ts';
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

test('streams of several processes are read so that no message comes before it was sent, whatever their clocks say', t =>
	withFolder(async folder => {
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
