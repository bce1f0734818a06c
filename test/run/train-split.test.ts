import test from 'ava';
import type {Bus} from '../../protocols/ports.ts';
import type {Scenario, ScenarioFile} from '../../protocols/scenario.ts';
import {startBroker} from '../../runtime/bus/broker.ts';
import {connectNats} from '../../runtime/bus/nats.ts';
import {type AdapterTensors, blocksOf} from '../../runtime/model/lora.ts';
import {findBroker} from '../../runtime/setup/find-broker.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {adapterDifference, differenceMax, goldenAdapter, goldenJson, goldenTensors} from '../_helpers/golden.ts';
import {testWith} from '../_helpers/optional.ts';
import {lossesOf, plainAdapter, type TinyParts, tinyBench, tinyScenario} from '../_helpers/tiny-run.ts';
import {trainSplitParts} from '../_helpers/train-split.ts';

// Every number here comes from PyTorch (test/golden/train-split/README.md); nothing is compared with ourselves.
const bench = await tinyBench(await nativeBackend(), 'tiny-gpt2');
const blocks = bench.model.config.blocks;

type Runs = {runs: Record<string, {f64: {losses: number[][]}}>};
const {runs} = goldenJson<Runs>('train-split/golden.json');

const {clients, initial} = await trainSplitParts();

type Settings = Omit<Partial<ScenarioFile>, 'training'> & {training?: ScenarioFile['training']};

const goldenScenario = ({training, ...changes}: Settings): Scenario =>
	tinyScenario({
		evaluation: {everyRounds: 0},
		...changes,
		training: {steps: 12, stepsPerRound: 4, learningRate: 1e-3, ...training},
	});

const train = async (scenario: Scenario, parts: TinyParts = {}) => {
	const {summary, rows, adapters} = await bench.run(scenario, {clients, initial, ...parts});
	return {
		status: summary.status,
		losses: lossesOf(rows, scenario),
		client: plainAdapter(adapters!.client),
		server: plainAdapter(adapters!.server),
	};
};

const lossDifference = (ours: number[][], name: string) => differenceMax(ours.flat(), runs[name]!.f64.losses.flat());
const difference = (ours: AdapterTensors, theirs: AdapterTensors) => adapterDifference(ours, theirs, differenceMax);

/** The main server's adapter at the end, wherever the file has it. */
const serverEnd = (golden: Awaited<ReturnType<typeof goldenTensors>>, from: number) => {
	const prefix = golden.has('end.h.0.attn.q.lora_A') || golden.has('end.h.3.attn.q.lora_A') ? 'end.' : 'agg3.server.';
	return blocksOf(goldenAdapter(golden, prefix), {from, to: blocks});
};

const sgd = {optimizer: {kind: 'sgd'}, learningRate: 0.5} as const;
const linear = {schedule: {kind: 'linear', warmupSteps: 3}} as const;
const replicas = {update: {kind: 'replicas'}} as const;
const sequential = {update: {kind: 'sequential'}} as const;
const settings: Record<string, Settings> = {
	parallel_unweighted: {},
	parallel_weighted: {training: {clientGradient: 'weighted'}},
	parallel_unweighted_cut1: {cut: 1},
	parallel_unweighted_cut3: {cut: 3},
	parallel_unweighted_linear_lr: {training: linear},
	parallel_unweighted_sgd: {training: sgd},
	parallel_weighted_sgd: {training: {...sgd, clientGradient: 'weighted'}},
	sequential,
	sequential_sgd: {...sequential, training: sgd},
};
const parallelTolerance = {loss: 1e-5, adapter: 2e-5};
const looseTolerance = {loss: 2e-4, adapter: 5e-4};

for (const [name, changes] of Object.entries(settings)) {
	test(`twelve steps of three actors follow PyTorch: ${name}`, async t => {
		const tolerance = changes.update ? looseTolerance : parallelTolerance;
		const scenario = goldenScenario(changes);
		const golden = await goldenTensors(`train-split/${name}.f32.safetensors`);
		const run = await train(scenario);
		t.is(run.status, 'done');
		const loss = lossDifference(run.losses, name);
		t.true(loss < tolerance.loss, `losses differ by ${loss}`);
		const client = difference(run.client, goldenAdapter(golden, 'agg3.global.'));
		t.true(client < tolerance.adapter, `client adapters differ by ${client}`);
		const server = difference(run.server, serverEnd(golden, scenario.cut as number));
		t.true(server < tolerance.adapter, `server adapters differ by ${server}`);
		t.log({loss, client, server});
	});
}

test('own and weighted client gradients of SGD part by far more than the tolerance', async t => {
	const own = await goldenTensors('train-split/parallel_unweighted_sgd.f32.safetensors');
	const run = await train(goldenScenario({training: {...sgd, clientGradient: 'weighted'}}));
	t.true(difference(run.client, goldenAdapter(own, 'agg3.global.')) > 1e-2);
});

for (const [name, training] of Object.entries({fedlora: {}, fedlora_sgd: sgd})) {
	test(`twelve steps of FedLoRA with three actors follow PyTorch: ${name}`, async t => {
		const golden = await goldenTensors(`train-split/${name}.f32.safetensors`);
		const run = await train(goldenScenario({mainServer: false, training}));
		const loss = lossDifference(run.losses, name);
		t.true(loss < looseTolerance.loss, `losses differ by ${loss}`);
		const client = difference(run.client, goldenAdapter(golden, 'agg3.global.'));
		t.true(client < looseTolerance.adapter, `adapters differ by ${client}`);
		t.deepEqual(run.server, {});
		t.log({loss, client});
	});
}

// A client's head and its own copy of the tail are a whole model of its own: SplitFed V1 is FedLoRA cut in two.
for (const [name, training] of Object.entries({fedlora: {}, fedlora_sgd: sgd})) {
	test(`twelve steps with a copy of the tail for each client follow PyTorch: ${name}`, async t => {
		const golden = await goldenTensors(`train-split/${name}.f32.safetensors`);
		const run = await train(goldenScenario({...replicas, training}));
		t.is(run.status, 'done');
		const loss = lossDifference(run.losses, name);
		t.true(loss < looseTolerance.loss, `losses differ by ${loss}`);
		const whole = difference({...run.client, ...run.server}, goldenAdapter(golden, 'agg3.global.'));
		t.true(whole < looseTolerance.adapter, `adapters differ by ${whole}`);
		t.log({loss, whole});
	});
}

for (const [count, name, tolerance] of [
	[1, 'sequential', looseTolerance],
	[3, 'parallel_unweighted', parallelTolerance],
] as const) {
	test(`a buffer of ${count} of 3 clients follows PyTorch: ${name}`, async t => {
		const golden = await goldenTensors(`train-split/${name}.f32.safetensors`);
		const run = await train(goldenScenario({update: {kind: 'buffered', count}}));
		const loss = lossDifference(run.losses, name);
		t.true(loss < tolerance.loss, `losses differ by ${loss}`);
		const client = difference(run.client, goldenAdapter(golden, 'agg3.global.'));
		t.true(client < tolerance.adapter, `client adapters differ by ${client}`);
		const server = difference(run.server, serverEnd(golden, 2));
		t.true(server < tolerance.adapter, `server adapters differ by ${server}`);
	});
}

for (const [name, training] of Object.entries({cenlora: {}, cenlora_sgd: sgd})) {
	// With the cut at 0 the main server trains the whole adapter on L = sum of w_i loss_i: that is CenLoRA.
	test(`a main server with every block follows PyTorch's CenLoRA: ${name}`, async t => {
		const golden = await goldenTensors(`train-split/${name}.f32.safetensors`);
		const run = await train(goldenScenario({cut: 0, training}));
		const loss = lossDifference(run.losses, name);
		t.true(loss < parallelTolerance.loss, `losses differ by ${loss}`);
		const end = goldenAdapter(golden, golden.has('end.h.0.attn.q.lora_A') ? 'end.' : 'step12.');
		const server = difference(run.server, end);
		t.true(server < parallelTolerance.adapter, `adapters differ by ${server}`);
		t.deepEqual(run.client, {});
		t.log({loss, server});
	});
}

const binary = findBroker()?.binary;

testWith(binary)('twelve steps over a real nats-server follow PyTorch: parallel_unweighted', async t => {
	const broker = await startBroker({binary: binary!});
	try {
		const connect = (name: string): Promise<Bus> => connectNats({url: broker.url, name, onNotice: () => undefined});
		const run = await train(goldenScenario({}), {connect});
		const golden = await goldenTensors('train-split/parallel_unweighted.f32.safetensors');
		t.true(lossDifference(run.losses, 'parallel_unweighted') < parallelTolerance.loss);
		t.true(difference(run.client, goldenAdapter(golden, 'agg3.global.')) < parallelTolerance.adapter);
		t.true(difference(run.server, serverEnd(golden, 2)) < parallelTolerance.adapter);
	} finally {
		await broker.stop();
	}
});
