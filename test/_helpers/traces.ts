/**
Opening and rewriting recorded traces in tests.
*/
import {writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import {frameOf, magicOf, type TraceHeader, type TraceRecord} from '../../runtime/trace/format.ts';
import {Trace} from '../../runtime/trace/trace.ts';

/** Opens a run folder's trace for as long as `use` takes. */
export async function withTrace<T>(folder: string, use: (trace: Trace) => Promise<T>): Promise<T> {
	const trace = await Trace.open(folder);
	try {
		return await use(trace);
	} finally {
		await trace.close();
	}
}

/** Every record of a trace of one stream. */
export const recordsIn = (folder: string): Promise<TraceRecord[]> =>
	withTrace(folder, async trace => {
		const records: TraceRecord[] = [];
		for await (const {record} of trace.records()) records.push(record);
		return records;
	});

/** Writes the trace again, each record as `change` makes it, with numbers and checksums that fit; nothing drops a record. */
export async function rewriteTrace(
	folder: string,
	change: (record: TraceRecord) => TraceRecord | undefined,
): Promise<void> {
	const header = await withTrace(folder, async trace => trace.streams[0]!.header);
	const records = (await recordsIn(folder)).flatMap(record => change(record) ?? []);
	const all: (TraceHeader | TraceRecord)[] = [header, ...records.map((record, index) => ({...record, n: index + 1}))];
	await writeFile(join(folder, 'trace', 'run.trace'), Buffer.concat([Buffer.from(magicOf(1)), ...all.map(frameOf)]));
}
