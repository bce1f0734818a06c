import test from 'ava';
import {parse} from 'csv-parse/sync';
import {toCsv, toJsonLines} from '../../runtime/trace/export.ts';
import {toPerfetto} from '../../runtime/trace/perfetto.ts';
import {commandsOf, type Trace} from '../../runtime/trace/trace.ts';
import {FakeCompute} from '../_helpers/fake-compute.ts';
import {recordRun, withFolder} from '../_helpers/recorded-run.ts';
import {breachesOf, type TraceEvent} from '../_helpers/trace-events.ts';
import {recordsIn, withTrace} from '../_helpers/traces.ts';

async function textOf(folder: string, format: (trace: Trace) => AsyncGenerator<string>): Promise<string> {
	return withTrace(folder, async trace => {
		const pieces: string[] = [];
		for await (const piece of format(trace)) pieces.push(piece);
		return pieces.join('');
	});
}

const eventsOf = async (folder: string) =>
	(JSON.parse(await textOf(folder, toPerfetto)) as {traceEvents: TraceEvent[]}).traceEvents;

test('the Perfetto file keeps the rules of trace events and shows actors, passes, waiting, messages, bytes and staleness', t =>
	withFolder(async folder => {
		const compute = new FakeCompute(() => new Promise(setImmediate));
		await recordRun({folder, compute});
		const records = await recordsIn(folder);
		const events = await eventsOf(folder);
		t.deepEqual(breachesOf(events), []);
		const of = (ph: string) => events.filter(event => event.ph === ph);
		const names = of('M').map(({args}) => args?.name);
		const actors = ['c0', 'c1', 'c2', 'evaluator', 'fed', 'main'];
		t.deepEqual(names.toSorted(), [...actors, 'actors', 'links', ...actors.map(actor => `to ${actor}`)].toSorted());
		const arrived = records.flatMap(record => (record.kind === 'input' && record.message ? [record.message] : []));
		t.is(of('s').length, arrived.length);
		t.deepEqual(
			of('b').map(({args}) => args?.message),
			arrived,
		);
		const passes = of('X')
			.filter(({cat}) => cat === 'pass')
			.map(({name}) => name);
		for (const name of ['forward', 'backward', 'mainStep', 'aggregate']) t.true(passes.includes(name));
		t.true(of('X').some(({cat}) => cat === 'waiting'));
		for (const name of ['serverStaleness of c1', 'gradientStaleness of c1', 'adapterStalenessMax of fed'])
			t.true(
				of('C').some(counter => counter.name === name),
				name,
			);
		// The sums at the end are those of the records.
		const bytes = new Map(
			records.flatMap(record =>
				commandsOf(record).flatMap(one => ('send' in one ? [[one.id, one.bytes] as const] : [])),
			),
		);
		const received = records.filter(record => record.kind === 'input' && record.actor === 'main' && record.message);
		t.is(
			of('C').findLast(({name}) => name === 'bytes received by main')!.args!.bytes,
			received.reduce((total, record) => total + bytes.get((record as {message: string}).message)!, 0),
		);
	}));

test('a file that breaks a rule of trace events is found out', t =>
	withFolder(async folder => {
		await recordRun({folder});
		const events = await eventsOf(folder);
		const isBroken = (expected: RegExp, change: (all: TraceEvent[]) => TraceEvent[]) =>
			t.regex(breachesOf(change(structuredClone(events))).join('\n'), expected);
		const without = (ph: string) => (all: TraceEvent[]) =>
			all.toSpliced(
				all.findIndex(one => one.ph === ph),
				1,
			);
		isBroken(/never ends/, without('e'));
		isBroken(/ends and never began/, without('b'));
		isBroken(/starts and never finishes/, without('f'));
		isBroken(/without a start/, without('s'));
		isBroken(/has no name/, without('M'));
		isBroken(/dur -1/, all => all.map(one => (one.ph === 'X' ? {...one, dur: -1} : one)));
		isBroken(/ts NaN/, all => all.map(one => ({...one, ts: Number.NaN})));
		isBroken(/overlaps another slice/, all => all.map(one => (one.ph === 'X' ? {...one, dur: one.dur + one.ts} : one)));
		isBroken(/goes back/, all => all.toReversed());
		isBroken(/phase that is unknown/, all => all.map(one => ({...one, ph: 'Q'})));
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
