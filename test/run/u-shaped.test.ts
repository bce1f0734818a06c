import test from 'ava';
import type {Frame} from '../../protocols/ports.ts';
import type {ScenarioFile} from '../../protocols/scenario.ts';
import {startBroker} from '../../runtime/bus/broker.ts';
import {createMemoryBroker} from '../../runtime/bus/memory.ts';
import {connectNats} from '../../runtime/bus/nats.ts';
import {wrapBus} from '../../runtime/bus/wrap.ts';
import {findBroker} from '../../runtime/setup/find-broker.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {runDisturbed} from '../_helpers/disturbed.ts';
import {adapterDifference, differenceMax, relativeMax} from '../_helpers/golden.ts';
import {testWith} from '../_helpers/optional.ts';
import {lossesOf, plainAdapter, randomBatch, tinyBench, tinyScenario, wholeAdapter} from '../_helpers/tiny-run.ts';

const bench = await tinyBench(await nativeBackend(), 'tiny-gpt2');
const binary = findBroker()?.binary;
const tolerance = 5e-7;

// Where a block is on both sides' clients it is averaged as a client's: with SGD and an average after every step that is the same step.
const training = {steps: 4, stepsPerRound: 1, optimizer: {kind: 'sgd'}, learningRate: 0.2} as const;
const split = (changes: Partial<ScenarioFile> = {}) =>
	tinyScenario({evaluation: {everyRounds: 0}, lora: {dropout: 0.2}, training, cut: 1, ...changes});
const uShaped = (tailBlocks: number, changes: Partial<ScenarioFile> = {}) =>
	split({labels: 'client', tailBlocks, ...changes});

for (const [cut, tailBlocks] of [
	[1, 1],
	[1, 2],
	[2, 0],
	[0, 3],
] as const) {
	test(`a head of ${cut} and an end of ${tailBlocks} blocks at the clients train as the ordinary split does, with dropout on`, async t => {
		const plain = await bench.run(split({cut}));
		const scenario = uShaped(tailBlocks, {cut});
		const run = await bench.run(scenario);
		t.is(run.summary.status, 'done', run.summary.reason);
		const loss = relativeMax(lossesOf(run.rows, scenario).flat(), lossesOf(plain.rows, scenario).flat());
		const adapter = adapterDifference(wholeAdapter(run), wholeAdapter(plain), differenceMax);
		t.log({loss, adapter});
		t.true(loss < tolerance, `losses differ by ${loss}`);
		t.true(adapter < tolerance, `adapters differ by ${adapter}`);
		const held = Object.keys(plainAdapter(run.adapters!.client)).map(name => Number(name.split('.')[1]));
		t.deepEqual(
			[...new Set(held)].toSorted(),
			[0, 1, 2, 3].filter(block => block < cut || block >= 4 - tailBlocks),
		);
	});
}

for (const update of ['parallel', 'sequential', 'replicas'] as const) {
	test(`one client's AdamW steps in rounds of two are those of the ordinary split (${update})`, async t => {
		const changes: Partial<ScenarioFile> = {clients: 1, update: {kind: update}, training: {steps: 4, stepsPerRound: 2}};
		const [plain, run] = [await bench.run(split(changes)), await bench.run(uShaped(1, changes))];
		const scenario = split(changes);
		t.true(differenceMax(lossesOf(run.rows, scenario).flat(), lossesOf(plain.rows, scenario).flat()) < 5e-6);
		t.true(adapterDifference(wholeAdapter(run), wholeAdapter(plain), differenceMax) < 2e-5);
	});
}

test('no label and no position of one leaves a client', async t => {
	const memory = createMemoryBroker();
	const verbs = new Map<string, number>();
	const names: string[] = [];
	const connect = (name: string) => {
		const bus = memory.connect();
		const publish = (frame: Frame) => {
			const verb = frame.subject.split('.')[5]!;
			if (name.startsWith('c')) verbs.set(verb, (verbs.get(verb) ?? 0) + 1);
			const text = Buffer.from(frame.body).toString('latin1');
			if (name.startsWith('c') && verb !== 'upload')
				names.push(...['labels', 'targetPositions', 'ids'].filter(word => text.includes(word)));
			bus.publish(frame);
		};
		return Promise.resolve(wrapBus(bus, {publish}));
	};
	const run = await bench.run(uShaped(1), {connect});
	t.is(run.summary.status, 'done');
	t.deepEqual(names, []);
	t.is(verbs.get('activations'), 12);
	t.is(verbs.get('tail-gradient'), 12);
});

test('the validation loss is that of the same pair under the ordinary split', async t => {
	const validation = [randomBatch(bench.model.config.vocabulary, 'validation', 0)];
	const changes = {evaluation: {everyRounds: 1}, data: {kind: 'restaurants', validationRows: 2}} as const;
	const plain = await bench.run(split(changes), {validation});
	const run = await bench.run(uShaped(2, changes), {validation});
	const losses = [plain, run].map(({summary}) => summary.evaluations.map(({loss}) => loss));
	t.is(losses[0]!.length, 5);
	t.true(differenceMax(losses[1]!, losses[0]!) < 1e-6);
	t.true(losses[0]![4] !== losses[0]![0]);
});

const timing = {answerTimeoutMs: 60, heartbeatMs: 25, leaseMs: 60_000};

for (const update of ['parallel', 'replicas'] as const) {
	test(`every step is applied once to the same losses whatever frame is lost, doubled or late (${update})`, async t => {
		const scenario = uShaped(1, {update: {kind: update}, timing, training: {steps: 4, stepsPerRound: 2}});
		const plain = await bench.run(scenario);
		for (const seed of process.env.CUTLAYER_TESTS === 'long' ? Array.from({length: 30}, (_, one) => one) : [3, 4]) {
			const memory = createMemoryBroker();
			const disturbance = {seed, loss: 0.12, twice: 0.3, late: 0.2};
			const {result, check} = await runDisturbed(bench, scenario, disturbance, () => Promise.resolve(memory.connect()));
			t.deepEqual(check.violations, [], `seed ${seed}`);
			t.is(check.counts['steps applied'], 12, `seed ${seed}`);
			t.deepEqual(lossesOf(result.rows, scenario), lossesOf(plain.rows, scenario), `seed ${seed}`);
			t.deepEqual(wholeAdapter(result), wholeAdapter(plain), `seed ${seed}`);
		}
	});
}

testWith(binary)('labels stay with the clients over a real nats-server too', async t => {
	const broker = await startBroker({binary: binary!});
	t.teardown(() => broker.stop());
	const connect = (name: string) => connectNats({url: broker.url, name, onNotice: () => undefined});
	const scenario = uShaped(1);
	const [plain, run] = [await bench.run(scenario), await bench.run(scenario, {connect})];
	t.deepEqual(lossesOf(run.rows, scenario), lossesOf(plain.rows, scenario));
	t.deepEqual(wholeAdapter(run), wholeAdapter(plain));
});
