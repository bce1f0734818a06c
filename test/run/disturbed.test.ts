import test from 'ava';
import fc from 'fast-check';
import type {Scenario, ScenarioFile} from '../../protocols/scenario.ts';
import {startBroker} from '../../runtime/bus/broker.ts';
import {createMemoryBroker} from '../../runtime/bus/memory.ts';
import {connectNats} from '../../runtime/bus/nats.ts';
import type {MetricsRow} from '../../runtime/run/recorder.ts';
import {findBroker} from '../../runtime/setup/find-broker.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {runDisturbed} from '../_helpers/disturbed.ts';
import {testWith} from '../_helpers/optional.ts';
import {lossesOf, tinyBench, tinyScenario, wholeAdapter} from '../_helpers/tiny-run.ts';

const bench = await tinyBench(await nativeBackend(), 'tiny-gpt2');
const isLong = process.env.CUTLAYER_TESTS === 'long';
const binary = findBroker()?.binary;

const scenarioOf = (update: Scenario['update']['kind'], shape: Partial<ScenarioFile> = {}): Scenario =>
	tinyScenario({
		...shape,
		update: {kind: update as 'parallel' | 'sequential'},
		timing: {answerTimeoutMs: 60, heartbeatMs: 25, leaseMs: 60_000},
	});

const stepsOf = (rows: readonly MetricsRow[]) =>
	rows.filter(({kind}) => kind === 'step').map(({actor, round, step}) => `${actor} ${round}.${step}`);

test('every step is applied exactly once, to the same losses, when frames are lost, doubled and late', async t => {
	const disturbances = fc.record({
		seed: fc.nat(),
		loss: fc.constantFrom(0, 0.05, 0.15),
		twice: fc.constantFrom(0, 0.2, 0.5),
		late: fc.constantFrom(0, 0.2),
	});
	await fc.assert(
		fc.asyncProperty(disturbances, async disturbance => {
			const scenario = scenarioOf('parallel');
			const plain = await bench.run(scenario);
			const memory = createMemoryBroker();
			const {result, check} = await runDisturbed(bench, scenario, disturbance, () => Promise.resolve(memory.connect()));
			t.deepEqual(check.violations, []);
			const steps = scenario.clients * scenario.training.steps;
			t.is(check.counts['steps applied'], steps);
			t.is(new Set(stepsOf(result.rows)).size, steps);
			t.is(stepsOf(result.rows).length, steps);
			t.deepEqual(lossesOf(result.rows, scenario), lossesOf(plain.rows, scenario));
			t.deepEqual(wholeAdapter(result), wholeAdapter(plain));
		}),
		{numRuns: isLong ? 100 : 6, endOnFailure: true},
	);
});

test('every step is applied exactly once in the order of arrivals, when frames are lost, doubled and late', async t => {
	const scenario = scenarioOf('sequential', {clients: 4});
	for (const seed of isLong ? Array.from({length: 40}, (_, index) => index) : [1, 2]) {
		const memory = createMemoryBroker();
		const disturbance = {seed, loss: 0.1, twice: 0.3, late: 0.2};
		const {check} = await runDisturbed(bench, scenario, disturbance, () => Promise.resolve(memory.connect()));
		t.deepEqual(check.violations, [], `seed ${seed}`);
		t.is(check.counts['steps applied'], 16, `seed ${seed}`);
	}
});

testWith(binary)(
	'every step is applied exactly once over a real nats-server that loses, doubles and delays',
	async t => {
		const broker = await startBroker({binary: binary!});
		t.teardown(() => broker.stop());
		const scenario = scenarioOf('parallel');
		const plain = await bench.run(scenario);
		const {result, check} = await runDisturbed(bench, scenario, {seed: 5, loss: 0.1, twice: 0.3, late: 0.2}, name =>
			connectNats({url: broker.url, name, onNotice: () => undefined}),
		);
		t.deepEqual(check.violations, []);
		t.is(check.counts['steps applied'], 12);
		t.deepEqual(lossesOf(result.rows, scenario), lossesOf(plain.rows, scenario));
		t.deepEqual(wholeAdapter(result), wholeAdapter(plain));
	},
);
