/**
The end of a run reaches everybody, also who misses its first announcement.
*/

import test from 'ava';
import type {Frame} from '../../protocols/ports.ts';
import {createMemoryBroker} from '../../runtime/bus/memory.ts';
import {wrapBus} from '../../runtime/bus/wrap.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {lossesOf, tinyBench, tinyScenario} from '../_helpers/tiny-run.ts';

const scenario = tinyScenario({timing: {heartbeatMs: 20, leaseMs: 0}});
const bench = await tinyBench(await nativeBackend(), 'tiny-gpt2');
const expected = bench.run(scenario);

for (const deaf of [['c1'], ['main'], ['c0', 'c1', 'c2', 'main']]) {
	test(`a run ends when its end is lost twice to ${deaf.join(', ')}`, async t => {
		t.timeout(180_000);
		const broker = createMemoryBroker();
		const lost: string[] = [];
		const connect = (name: string) => {
			const bus = broker.connect();
			const hear = (deliver: (frame: Frame) => void) => (frame: Frame) => {
				const isLost = deaf.includes(name) && frame.subject.endsWith('.run-finished');
				if (isLost && lost.filter(one => one === name).length < 2) lost.push(name);
				else deliver(frame);
			};
			return Promise.resolve(wrapBus(bus, {subscribe: (pattern, deliver) => bus.subscribe(pattern, hear(deliver))}));
		};
		const {summary, rows} = await bench.run(scenario, {connect});
		t.is(summary.status, 'done', summary.reason);
		t.deepEqual([...new Set(lost)].sort(), deaf.toSorted());
		t.is(lost.length, 2 * deaf.length);
		t.deepEqual(lossesOf(rows, scenario), lossesOf((await expected).rows, scenario));
	});
}
