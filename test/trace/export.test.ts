import test from 'ava';
import {parse} from 'csv-parse/sync';
import {toCsv, toJsonLines} from '../../runtime/trace/export.ts';
import {toPerfetto} from '../../runtime/trace/perfetto.ts';
import type {Trace} from '../../runtime/trace/trace.ts';
import {FakeCompute} from '../_helpers/fake-compute.ts';
import {recordRun, withFolder} from '../_helpers/recorded-run.ts';
import {recordsIn, withTrace} from '../_helpers/traces.ts';

async function textOf(folder: string, format: (trace: Trace) => AsyncGenerator<string>): Promise<string> {
	return withTrace(folder, async trace => {
		const pieces: string[] = [];
		for await (const piece of format(trace)) pieces.push(piece);
		return pieces.join('');
	});
}

type Event = {
	ph: string;
	name: string;
	pid: number;
	tid: number;
	ts: number;
	dur: number;
	id?: string;
	bp?: string;
	cat?: string;
	args?: Record<string, unknown>;
};

const isWhole = (value: unknown) => Number.isSafeInteger(value) && Number(value) >= 0;

/** Slices of one track lie inside each other or apart. */
function areNested(slices: readonly Event[]): boolean {
	const open: number[] = [];
	const ordered = slices.toSorted((a, b) => a.ts - b.ts || b.dur - a.dur);
	return ordered.every(({ts, dur}) => {
		while (open.length > 0 && open.at(-1)! <= ts) open.pop();
		const fits = open.length === 0 || ts + dur <= open.at(-1)!;
		open.push(ts + dur);
		return fits;
	});
}

test('the Perfetto file keeps the rules of trace events', t =>
	withFolder(async folder => {
		const compute = new FakeCompute(() => new Promise(setImmediate));
		await recordRun({folder, compute});
		const records = await recordsIn(folder);
		const {traceEvents} = JSON.parse(await textOf(folder, toPerfetto)) as {traceEvents: Event[]};
		for (const {ph, name, pid, tid, ts, dur} of traceEvents) {
			t.true(['X', 'M', 's', 'f', 'C'].includes(ph) && name.length > 0 && isWhole(pid) && isWhole(tid));
			if (ph !== 'M') t.true(isWhole(ts));
			if (ph === 'X') t.true(isWhole(dur) && dur > 0);
		}
		const of = (ph: string) => traceEvents.filter(event => event.ph === ph);
		const actors = of('M').map(({args}) => args?.name);
		t.deepEqual(actors.toSorted(), ['c0', 'c1', 'c2', 'evaluator', 'fed', 'main']);
		t.is(new Set(of('M').map(({tid}) => tid)).size, actors.length);
		for (const {tid} of of('M')) t.true(areNested(of('X').filter(slice => slice.tid === tid)));
		const [starts, ends] = [of('s'), of('f')];
		t.is(starts.length, records.filter(record => record.kind === 'input' && record.message !== undefined).length);
		t.is(new Set(starts.map(({id}) => id)).size, starts.length);
		for (const [index, start] of starts.entries()) {
			const end = ends[index]!;
			t.true(
				end.id === start.id && end.name === start.name && end.cat === start.cat && end.ts >= start.ts && end.bp === 'e',
			);
			// An arrow begins and ends at a slice of its track.
			for (const {tid, ts} of [start, end])
				t.true(of('X').some(slice => slice.tid === tid && slice.ts <= ts && ts <= slice.ts + slice.dur));
		}
		const passes = of('X')
			.filter(({cat}) => cat === 'pass')
			.map(({name}) => name);
		for (const name of ['forward', 'backward', 'mainStep', 'aggregate']) t.true(passes.includes(name));
		t.true(of('X').some(({cat}) => cat === 'waiting'));
		for (const {args} of of('C')) t.true(Object.values(args!).every(value => Number.isFinite(value)));
		t.true(of('C').some(({name}) => /staleness/i.test(name)) && of('C').some(({name}) => name === 'bytes sent by c0'));
	}));

test('CSV and JSON lines have a row for every record', t =>
	withFolder(async folder => {
		await recordRun({folder});
		const records = await recordsIn(folder);
		const rows = parse(await textOf(folder, toCsv), {columns: true}) as Record<string, string>[];
		t.deepEqual(
			rows.map(row => Number(row.record)),
			records.map(({n}) => n),
		);
		t.is(rows.filter(row => row.event === 'gradient').length, 12);
		const lines = (await textOf(folder, toJsonLines))
			.trimEnd()
			.split('\n')
			.map(line => JSON.parse(line) as object);
		t.is((lines[0] as {scenarioHash: string}).scenarioHash.length, 64);
		t.deepEqual(lines.slice(1), JSON.parse(JSON.stringify(records)));
	}));
