import {readdirSync} from 'node:fs';
import test from 'ava';
import {replayTrace} from '../../runtime/replay/replay.ts';
import {checkTrace} from '../../runtime/trace/invariants.ts';
import {withTrace} from '../_helpers/traces.ts';
import {traceScenarios} from '../traces/scenarios.ts';

const folder = new URL('../traces/', import.meta.url).pathname;
const kept = readdirSync(folder).filter(name => name.endsWith('.trace'));

test('a trace is kept of every scenario that is listed', t => {
	t.deepEqual(
		kept.toSorted(),
		Object.keys(traceScenarios)
			.map(name => `${name}.trace`)
			.toSorted(),
	);
});

for (const name of kept) {
	test(`the kept trace ${name} replays without a divergence and keeps every invariant`, t =>
		withTrace(`${folder}${name}`, async trace => {
			const {divergence, inputs, skipped} = await replayTrace(trace);
			t.is(divergence && `record ${trace.label(divergence.at)} of ${divergence.actor}: ${divergence.what}`, undefined);
			t.true(inputs > 40);
			t.is(skipped, 0);
			t.deepEqual((await checkTrace(trace)).violations, []);
		}));
}
