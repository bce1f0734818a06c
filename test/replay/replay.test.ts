import {readFile, writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import type {ScenarioFile} from '../../protocols/scenario.ts';
import {replayTrace} from '../../runtime/replay/replay.ts';
import {checkTrace} from '../../runtime/trace/invariants.ts';
import {FakeCompute} from '../_helpers/fake-compute.ts';
import {recordRun, withFolder} from '../_helpers/recorded-run.ts';
import {recordsIn, rewriteTrace, withTrace} from '../_helpers/traces.ts';

const scenarios = fc.record({
	clients: fc.integer({min: 1, max: 4}),
	mainServer: fc.boolean(),
	cut: fc.integer({min: 0, max: 4}),
	training: fc.record({
		steps: fc.integer({min: 1, max: 5}),
		stepsPerRound: fc.integer({min: 1, max: 3}),
		accumulation: fc.integer({min: 1, max: 2}),
	}),
	update: fc.constantFrom({kind: 'parallel' as const}, {kind: 'sequential' as const}),
	evaluation: fc.record({everyRounds: fc.integer({min: 0, max: 2})}),
	timing: fc.record({heartbeatMs: fc.constantFrom(0, 5), leaseMs: fc.constantFrom(0, 60_000)}),
});

test('any run replays without a divergence and keeps every invariant, whatever waits how long', async t => {
	await fc.assert(
		fc.asyncProperty(scenarios, fc.array(fc.integer({min: 0, max: 4}), {minLength: 1}), (scenario, waits) =>
			withFolder(async folder => {
				let call = 0;
				const compute = new FakeCompute(async () => {
					const turns = waits[call++ % waits.length]!;
					for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
				});
				await recordRun({folder, compute, scenario: scenario as Partial<ScenarioFile>});
				const result = await withTrace(folder, trace => replayTrace(trace));
				t.is(result.divergence, undefined);
				t.is(result.skipped, 0);
				t.true(result.inputs > 5);
				t.deepEqual((await withTrace(folder, checkTrace)).violations, []);
			}),
		),
		{numRuns: process.env.CUTLAYER_TESTS === 'long' ? 200 : 12},
	);
});

test('an actor that fails, and one that refuses a bad frame, replay too', t =>
	withFolder(async folder => {
		const compute = new FakeCompute(({actor, pass}) =>
			actor === 'c1' && pass === 'forward' ? Promise.reject(new Error('no memory')) : Promise.resolve(),
		);
		const bad = {subject: 'cutlayer.v1.tiny.client.c9.activations.main', headers: {}, body: Uint8Array.of(1)};
		await recordRun({folder, compute, onStarted: (_, bus) => bus.publish(bad)});
		await withTrace(folder, async trace => {
			const records = await recordsIn(folder);
			const dropped = records.find(record => record.kind === 'dropped');
			t.is(dropped?.code, 'version-unknown');
			t.is(dropped?.commands?.length, 1);
			t.true(records.some(record => record.kind === 'ended' && /no memory/.test(record.failure ?? '')));
			t.is((await replayTrace(trace)).divergence, undefined);
		});
	}));

test('one changed value of an input is found and named with its causes back to the start', t =>
	withFolder(async folder => {
		await recordRun({folder});
		let changed = 0;
		await rewriteTrace(folder, record => {
			if (changed > 0 || record.kind !== 'input' || record.event.type !== 'gradient') return record;
			changed = record.n;
			return {...record, event: {...record.event, body: {...(record.event.body as object), loss: 99}}};
		});
		const {divergence} = await withTrace(folder, trace => replayTrace(trace));
		t.is(divergence?.at.record.n, changed);
		t.regex(divergence!.what, /^context \/gradient/);
		const causes = divergence!.causes.map(({record}) => record);
		t.is(causes.at(-1)?.kind, 'started');
		t.true(causes.length > 3);
		t.deepEqual(
			causes.map(({n}) => n),
			causes.map(({n}) => n).toSorted((a, b) => b - a),
		);
	}));

test('a changed command is found, with both sides', t =>
	withFolder(async folder => {
		await recordRun({folder});
		await rewriteTrace(folder, record => {
			if (record.kind !== 'input' || record.actor !== 'main' || !record.commands) return record;
			const commands = record.commands.map(command =>
				'send' in command && command.send === 'gradient' && command.to === 'c1' ? {...command, to: 'c2'} : command,
			);
			return {...record, commands};
		});
		const {divergence} = await withTrace(folder, trace => replayTrace(trace));
		t.is(divergence?.actor, 'main');
		t.is((divergence!.recorded as {to: string}).to, 'c2');
		t.is((divergence!.replayed as {to: string}).to, 'c1');
	}));

test('one actor replays alone, and only up to a record', t =>
	withFolder(async folder => {
		await recordRun({folder});
		await withTrace(folder, async trace => {
			const whole = await replayTrace(trace, {actor: 'c1'});
			t.deepEqual(whole.actors, ['c1']);
			const part = await replayTrace(trace, {actor: 'c1', to: 40});
			t.true(part.inputs < whole.inputs);
			const end = whole.ends.get('c1');
			t.is(end?.state, 'finished');
		});
	}));

test('one changed byte of the file is found and the record is named', t =>
	withFolder(async folder => {
		await recordRun({folder});
		const path = join(folder, 'trace', 'run.trace');
		const bytes = await readFile(path);
		bytes[Math.floor(bytes.byteLength / 2)]! ^= 4;
		await writeFile(path, bytes);
		await t.throwsAsync(
			withTrace(folder, trace => replayTrace(trace)),
			{message: /record \d+ at byte \d+ is damaged/},
		);
	}));
