import test from 'ava';
import fc from 'fast-check';
import type {Bus, Frame} from '../../protocols/ports.ts';
import type {Scenario, ScenarioFile} from '../../protocols/scenario.ts';
import {startBroker} from '../../runtime/bus/broker.ts';
import {createMemoryBroker} from '../../runtime/bus/memory.ts';
import {connectNats} from '../../runtime/bus/nats.ts';
import {randomStream} from '../../runtime/random.ts';
import type {MetricsRow} from '../../runtime/run/recorder.ts';
import {findBroker} from '../../runtime/setup/find-broker.ts';
import {checkTrace} from '../../runtime/trace/invariants.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {testWith} from '../_helpers/optional.ts';
import {lossesOf, runIn, tinyBench, tinyScenario, wholeAdapter, withRunFolder, wrapBus} from '../_helpers/tiny-run.ts';
import {withTrace} from '../_helpers/traces.ts';

const bench = await tinyBench(await nativeBackend(), 'tiny-gpt2');
const isLong = process.env.CUTLAYER_TESTS === 'long';
const binary = findBroker()?.binary;

/** Shares of frames: lost, delivered twice, and held back for some turns so that later frames come before them. */
type Disturbance = {readonly seed: number; readonly loss: number; readonly twice: number; readonly late: number};

/** Verbs that are said once: what observers hear of a run, and its last word. */
const saidOnce = /\.(report|run-finished|server-adapter)(\.|$)/;

/** Each receiver's copy of a frame has a fate of its own, drawn from its message id. */
function disturbed(bus: Bus, name: string, {seed, loss, twice, late}: Disturbance): Bus {
	const copyAfter = async (turns: number, deliver: () => void) => {
		for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
		deliver();
	};
	return wrapBus(bus, {
		subscribe(pattern, deliver) {
			return bus.subscribe(pattern, (frame: Frame) => {
				const fate = randomStream(seed, name, frame.headers['Nats-Msg-Id'] ?? '', frame.subject);
				const isKept = saidOnce.test(frame.subject);
				const [isLost, isTwice, isLate] = [fate.float() < loss, fate.float() < twice, fate.float() < late];
				if (!isLost || isKept) void copyAfter(isLate ? fate.integer(1, 30) : 0, () => deliver(frame));
				if (isTwice) void copyAfter(fate.integer(1, 60), () => deliver(frame));
			});
		},
	});
}

const scenarioOf = (update: Scenario['update']['kind'], shape: Partial<ScenarioFile> = {}): Scenario =>
	tinyScenario({
		...shape,
		update: {kind: update as 'parallel' | 'sequential'},
		timing: {answerTimeoutMs: 60, heartbeatMs: 25, leaseMs: 60_000},
	});

/** The run under a disturbance: its rows, adapters and what a check of its trace finds. */
async function runDisturbed(scenario: Scenario, disturbance: Disturbance, open: (name: string) => Promise<Bus>) {
	const connect = async (name: string) => disturbed(await open(name), name, disturbance);
	return withRunFolder(async folder => {
		const {world, close} = bench.world(scenario, {connect});
		try {
			const result = await runIn(world, {scenario, folder, trace: {level: 'digest', code: 'test', backend: 'test'}});
			return {result, check: await withTrace(folder, checkTrace)};
		} finally {
			await close();
		}
	});
}

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
			const {result, check} = await runDisturbed(scenario, disturbance, () => Promise.resolve(memory.connect()));
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
		const {check} = await runDisturbed(scenario, disturbance, () => Promise.resolve(memory.connect()));
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
		const {result, check} = await runDisturbed(scenario, {seed: 5, loss: 0.1, twice: 0.3, late: 0.2}, name =>
			connectNats({url: broker.url, name, onNotice: () => undefined}),
		);
		t.deepEqual(check.violations, []);
		t.is(check.counts['steps applied'], 12);
		t.deepEqual(lossesOf(result.rows, scenario), lossesOf(plain.rows, scenario));
		t.deepEqual(wholeAdapter(result), wholeAdapter(plain));
	},
);
