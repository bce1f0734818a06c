import {join} from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import {replayTrace} from '../../runtime/replay/replay.ts';
import {Stepper} from '../../runtime/replay/stepper.ts';
import type {Trace} from '../../runtime/trace/trace.ts';
import {recordRun, withFolder} from '../_helpers/recorded-run.ts';
import {withTrace} from '../_helpers/traces.ts';

const kept = join(import.meta.dirname, '../traces/split-lora.trace');

/** State and context of all actors after each record, by going through the trace once. */
async function statesOf(trace: Trace): Promise<string[]> {
	const stepper = new Stepper(trace, {markInterval: 1e9});
	const states: string[] = [];
	while (await stepper.next()) states.push(stateOf(stepper));
	await stepper.stop();
	return states;
}

const stateOf = (stepper: Stepper): string =>
	JSON.stringify(stepper.actors.map(id => [id, stepper.actor(id), stepper.unread(id)]));

test('any way through a trace, on and back, stands where going straight there stands', async t => {
	const moves = fc.array(
		fc.oneof(fc.constant('next' as const), fc.constant('previous' as const), fc.integer({min: 1, max: 150})),
		{minLength: 1, maxLength: 25},
	);
	await withTrace(kept, async trace => {
		const states = await statesOf(trace);
		await fc.assert(
			fc.asyncProperty(
				moves,
				fc.integer({min: 1, max: 40}),
				fc.integer({min: 2, max: 6}),
				async (path, markInterval, marksMax) => {
					const stepper = new Stepper(trace, {markInterval, marksMax});
					let place = 0;
					for (const move of path) {
						const target = move === 'next' ? place + 1 : move === 'previous' ? place - 1 : move;
						const stepped = await (typeof move === 'number' ? stepper.to(({n}) => n === move) : stepper[move]());
						const isThere = target >= 1 && target <= states.length;
						t.is(stepped !== undefined, isThere);
						if (isThere) place = target;
						t.is(stepper.last?.located.record.n ?? 0, place);
						if (place > 0) t.is(stateOf(stepper), states[place - 1]!);
						t.is(stepped?.difference, undefined);
						t.true(stepper.marks <= marksMax);
					}
					await stepper.stop();
				},
			),
			{numRuns: 25},
		);
	});
});

test('the end of a stepped trace is the end of the replay', t =>
	withFolder(async folder => {
		await recordRun({folder});
		await withTrace(folder, async trace => {
			const stepper = new Stepper(trace);
			while (await stepper.next());
			const {ends} = await replayTrace(trace);
			t.true(ends.size >= 5);
			for (const [id, end] of ends) t.deepEqual(stepper.actor(id), end);
			await stepper.stop();
		});
	}));

test('one actor alone is stepped through without the others', async t => {
	await withTrace(kept, async trace => {
		const stepper = new Stepper(trace, {actor: 'c1'});
		const seen: string[] = [];
		for (let stepped = await stepper.next(); stepped; stepped = await stepper.next())
			seen.push((stepped.located.record as {actor: string}).actor);
		t.true(seen.length > 10);
		t.deepEqual([...new Set(seen)], ['c1']);
		t.deepEqual(stepper.actors, ['c1']);
		await stepper.stop();
	});
});
