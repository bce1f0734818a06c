import {copyFile, readFile, writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import test from 'ava';
import {replayTrace} from '../../runtime/replay/replay.ts';
import {Stepper} from '../../runtime/replay/stepper.ts';
import {firstParting} from '../../runtime/trace/diff.ts';
import {toCsv, toJsonLines} from '../../runtime/trace/export.ts';
import {checkTrace} from '../../runtime/trace/invariants.ts';
import {toPerfetto} from '../../runtime/trace/perfetto.ts';
import {Trace} from '../../runtime/trace/trace.ts';
import {lineOf} from '../../runtime/trace/words.ts';
import {withFolder} from '../_helpers/recorded-run.ts';
import {breachesOf, type TraceEvent} from '../_helpers/trace-events.ts';
import {recordsIn, withTrace} from '../_helpers/traces.ts';
import {invented, minorsFolder} from '../traces/minors.ts';

const ours = new URL('../traces/split-lora.trace', import.meta.url).pathname;

async function textOf(pieces: AsyncGenerator<string>): Promise<string> {
	const texts: string[] = [];
	for await (const piece of pieces) texts.push(piece);
	return texts.join('');
}

for (const [name, minor] of [
	['older', 0],
	['newer', 7],
] as const) {
	test(`a trace of ${name} minor version ${minor} is listed, replayed, stepped through, checked, compared and exported`, t =>
		withTrace(`${minorsFolder}${name}.trace`, async trace => {
			const {header} = trace.streams[0]!;
			t.deepEqual(header.format, {major: 1, minor});
			const own = await recordsIn(ours);
			const inputs = own.filter(({kind}) => kind === 'input' || kind === 'started').length;
			const replayed = await replayTrace(trace);
			t.is(replayed.divergence, undefined);
			t.is(replayed.inputs, inputs);
			const {violations, counts} = await checkTrace(trace);
			t.deepEqual(violations, []);
			t.deepEqual(counts, (await withTrace(ours, checkTrace)).counts);
			const stepper = new Stepper(trace);
			let steps = 0;
			for (let at = await stepper.next(); at; at = await stepper.next()) {
				t.is(at.difference, undefined);
				steps++;
			}
			await stepper.stop();
			t.is(await withTrace(`${minorsFolder}${name}.trace`, other => firstParting(trace, other)), undefined);
			const lines = (await textOf(toJsonLines(trace))).trimEnd().split('\n');
			t.is(lines.length, steps + 1);
			t.is((await textOf(toCsv(trace))).trimEnd().split('\n').length, steps + 1);
			const {traceEvents} = JSON.parse(await textOf(toPerfetto(trace))) as {traceEvents: TraceEvent[]};
			t.deepEqual(breachesOf(traceEvents), []);
		}));
}

test('what a newer version added is shown as unknown, and what an older lacks as missing', async t => {
	const [newer, older] = [await recordsIn(`${minorsFolder}newer.trace`), await recordsIn(`${minorsFolder}older.trace`)];
	const strange = newer.filter(({kind}) => (kind as string) === invented.kind);
	t.true(strange.length > 10);
	t.regex(lineOf(strange[0]!), /a record of kind weather, which this version of Cutlayer does not know$/);
	t.true(newer.some(record => /something unknown \(whispered\)/.test(lineOf(record))));
	t.false(older.some(record => /\|w\|/.test(lineOf(record))));
	t.true((await recordsIn(ours)).some(record => /\|w\|/.test(lineOf(record))));
});

test('an unknown major version is refused by name, whatever its minor', t =>
	withFolder(async folder => {
		const path = join(folder, 'next.trace');
		await copyFile(ours, path);
		const bytes = await readFile(path);
		bytes.write('cutlayer-trace 9\n', 'latin1');
		await writeFile(path, bytes);
		await t.throwsAsync(() => Trace.open(path), {
			message: /has trace format 9, this version of Cutlayer reads format 1; use the version that wrote it/,
		});
	}));
