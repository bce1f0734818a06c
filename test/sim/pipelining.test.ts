/**
Several batches of a client on their way at once: closed forms of the time, numbers of a direct calculation with delayed gradients,
and runs under faults.
*/
import test from 'ava';
import {checkScenario} from '../../protocols/check-scenario.ts';
import type {Fault} from '../../protocols/faults.ts';
import type {ScenarioFile} from '../../protocols/scenario.ts';
import {type AdapterTensors, blocksOf, cloneAdapter, initAdapter} from '../../runtime/model/lora.ts';
import {SplitModel} from '../../runtime/model/split.ts';
import type {MetricsRow} from '../../runtime/run/recorder.ts';
import {openWeights} from '../../runtime/weights/load.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {differenceMax, goldenPath, relativeMax} from '../_helpers/golden.ts';
import {batchAt, simScenario, simulate} from '../_helpers/simulate.ts';
import {stepsByRound} from '../_helpers/steps-by-round.ts';
import {plainAdapter} from '../_helpers/tiny-run.ts';

// Every pass of a client takes 10 ms, one of the main server 5, a message 100: nothing else takes time.
const [passMs, serverMs, tripMs] = [10, 5, 100];
const link = {flopsPerSecond: 1e18, upMbps: 1e12, downMbps: 1e12, latencyMs: tripMs / 2};
const device = {...link, overheadMs: passMs};
const fleet = (clients: number) => ({
	profile: 'ideal' as const,
	clients: Object.fromEntries(Array.from({length: clients}, (_, index) => [`c${index}`, device])),
	servers: {...link, overheadMs: serverMs},
});
const steps = 12;
const timing = {answerTimeoutMs: 5000, heartbeatMs: 0, leaseMs: 0};

const timed = (pipelineDepth: number | undefined, clients: number, more: Partial<ScenarioFile> = {}) =>
	simScenario({
		clients,
		...(pipelineDepth !== undefined && {pipelineDepth}),
		fleet: fleet(clients),
		timing,
		training: {steps, stepsPerRound: steps},
		...more,
	});

const endMs = (rows: readonly MetricsRow[]) => rows.findLast(row => row.kind === 'step')!.timeMs;

test('with slow links steps overlap: time, staleness and idle share follow their closed forms', async t => {
	const cycleMs = 2 * passMs + 2 * tripMs + serverMs;
	const runs = new Map<number, Awaited<ReturnType<typeof simulate>>>();
	for (const depth of [1, 2, 3, 4]) runs.set(depth, await simulate(timed(depth, 1)));
	const startMs = endMs(runs.get(1)!.rows) - steps * cycleMs;
	for (const [depth, run] of runs) {
		// D batches are on their way in each cycle, the passes of the one after those of the other.
		const makespanMs = (steps / depth) * cycleMs + 2 * passMs * (depth - 1);
		t.true(Math.abs(endMs(run.rows) - startMs - makespanMs) < 1e-3, `depth ${depth}: ${endMs(run.rows) - startMs}`);
		const expected: Record<number, number> = {};
		for (let step = 0; step < steps; step++) {
			const staleness = Math.min(step, depth - 1);
			expected[staleness] = (expected[staleness] ?? 0) + 1;
		}
		t.deepEqual(run.summary.gradientStaleness, expected);
		const idle = 1 - (2 * passMs * steps) / run.figures.virtualMs;
		t.true(Math.abs(run.summary.idleShare!.clients! - idle) < 1e-6);
	}
	const idle = [...runs.values()].map(run => run.summary.idleShare!.clients!);
	t.deepEqual(
		idle,
		idle.toSorted((a, b) => b - a),
	);
});

test('a depth of one is what a run without one is', async t => {
	const [without, one] = [await simulate(timed(undefined, 2)), await simulate(timed(1, 2))];
	t.is(one.metrics, without.metrics);
	t.is(one.figures.messages, without.figures.messages);
});

/** SGD with gradients of the adapter as it was at the forward pass, used `depth - 1` own updates later; in rounds, averaged by `shares`. */
async function delayedRun(depth: number, shares: readonly number[], {rounds, perRound, lr}: Record<string, number>) {
	const source = await openWeights(goldenPath('tiny-gpt2/model'));
	const backend = await nativeBackend();
	const part = (from: number, to: number, isHead: boolean) =>
		SplitModel.load(source, backend, {from, to, hasEmbedding: isHead, hasHead: !isHead});
	const [head, tail] = [await part(0, 2, true), await part(2, 4, false)];
	const first = initAdapter(source.config, {rank: 4, targets: ['q', 'v']}, {from: 0, to: 4}, 1);
	const adapterOf = (tensors: AdapterTensors) => ({alpha: 32, isRankStabilised: false, tensors});
	const descend = (tensors: AdapterTensors, gradients: AdapterTensors, factor: number) => {
		for (const [name, {values}] of Object.entries(gradients))
			for (const [at, value] of values.entries()) tensors[name]!.values[at]! -= lr! * factor * value;
	};
	const server = blocksOf(first, {from: 2, to: 4});
	let global = blocksOf(first, {from: 0, to: 2});
	const losses: number[][] = [];
	for (let round = 0; round < rounds!; round++) {
		const own = shares.map(() => cloneAdapter(global));
		const forwards = shares.map(() => [] as ReturnType<SplitModel['forward']>[]);
		const begin = (step: number) => {
			if (step >= perRound!) return;
			for (const [client, tensors] of own.entries()) {
				const batch = batchAt(`c${client}`, round * perRound! + step);
				forwards[client]![step] = head.forward(batch, adapterOf(cloneAdapter(tensors)));
			}
		};
		for (let step = 0; step < depth; step++) begin(step);
		for (let step = 0; step < perRound!; step++) {
			const results = shares.map((_, client) => {
				const {lengths, targetPositions: positions, labels} = batchAt(`c${client}`, round * perRound! + step);
				const weights = new Float32Array(labels.length).fill(1 / labels.length);
				const {activations} = forwards[client]![step]!;
				const options = {wantsInputGradient: true};
				return tail.trainStep({lengths, activations}, {positions, labels, weights}, adapterOf(server), options);
			});
			losses.push(
				results.map(({targetLosses}) => targetLosses.reduce((sum, loss) => sum + loss, 0) / targetLosses.length),
			);
			for (const [client, {gradients}] of results.entries()) descend(server, gradients[0]!, shares[client]!);
			for (const [client, {inputGradient}] of results.entries()) {
				const {saved} = forwards[client]![step]!;
				descend(own[client]!, head.backward(saved, inputGradient!).gradients[0]!, 1);
			}
			begin(step + depth);
		}
		const mean = cloneAdapter(global);
		for (const [name, {values}] of Object.entries(mean))
			values.set(
				values.map((_, at) => own.reduce((sum, one, client) => sum + shares[client]! * one[name]!.values[at]!, 0)),
			);
		global = mean;
	}
	head.dispose();
	tail.dispose();
	await source.close();
	return {losses, global, server};
}

const sgd = {optimizer: {kind: 'sgd'}, schedule: {kind: 'constant'}} as const;

for (const depth of [2, 3]) {
	test(`losses and adapters are those of gradients that come ${depth - 1} updates late`, async t => {
		const training = {steps: 10, stepsPerRound: 5, learningRate: 0.3, ...sgd};
		const scenario = timed(depth, 2, {lora: {dropout: 0}, training});
		const run = await simulate(scenario, {arithmetic: 'real'});
		const direct = await delayedRun(depth, [1 / 3, 2 / 3], {rounds: 2, perRound: 5, lr: 0.3});
		const losses: number[][] = Array.from({length: 10}, () => []);
		for (const row of run.rows)
			if (row.kind === 'step')
				losses[Number(row.round) * 5 + Number(row.step)]![Number(row.actor.slice(1))] = Number(row.loss);
		const difference = relativeMax(losses.flat(), direct.losses.flat());
		t.true(difference < 1e-5, `losses differ by ${difference}`);
		const {client, server} = run.adapters!;
		for (const [ours, theirs] of [
			[plainAdapter(client), direct.global],
			[plainAdapter(server), direct.server],
		] as const) {
			t.deepEqual(Object.keys(ours).toSorted(), Object.keys(theirs).toSorted());
			for (const [name, {values}] of Object.entries(theirs)) {
				const worst = differenceMax(ours[name]!.values, values);
				t.true(worst < 2e-5, `${name} differs by ${worst}`);
			}
		}
		// The tolerance can tell a delay from none.
		const other = await delayedRun(depth - 1, [1 / 3, 2 / 3], {rounds: 2, perRound: 5, lr: 0.3});
		t.true(differenceMax(losses.flat(), other.losses.flat()) > 1e-3);
	});
}

const faults: Record<string, Fault[]> = {
	'lost messages': [{kind: 'loss', rate: 0.15, fromMs: 0}],
	'doubled messages': [{kind: 'duplication', rate: 0.4, fromMs: 0}],
	'messages that overtake each other': [{kind: 'reordering', rate: 0.5, delayMs: 300, fromMs: 0}],
	'damaged messages': [{kind: 'corruption', rate: 0.1, fromMs: 0}],
	'a client that leaves with batches on their way': [{kind: 'dropout', client: 'c1', atMs: 600, isAnnounced: true}],
	'a client that vanishes with batches on their way': [{kind: 'dropout', client: 'c1', atMs: 600, isAnnounced: false}],
	'a client that comes back': [{kind: 'crash', client: 'c1', atMs: 600, returnMs: 900}],
	'a client that is cut off': [{kind: 'partition', clients: ['c1'], fromMs: 600, toMs: 3000}],
	'activations that are not finite': [{kind: 'non-finite', client: 'c1', atMs: 600, tensor: 'activations'}],
};

const updates: NonNullable<ScenarioFile['update']>[] = [
	{kind: 'parallel'},
	{kind: 'sequential'},
	{kind: 'replicas'},
	{kind: 'buffered', count: 2},
];

/** c1 may be gone when its round ends, or have come back with steps of its former life. */
const hasDisturbedClient = (own: readonly Fault[]) =>
	own.some(({kind}) => kind === 'dropout' || kind === 'crash' || kind === 'partition');

const isLong = process.env.CUTLAYER_TESTS === 'long';

for (const [place, [what, own]] of Object.entries(faults).entries()) {
	test(`a run with three batches on their way ends well under ${what}`, async t => {
		for (const update of isLong ? updates : [updates[place % updates.length]!]) {
			const training = {steps: 12, stepsPerRound: 6};
			const lively = {answerTimeoutMs: 700, heartbeatMs: 200, leaseMs: 2000};
			const run = await simulate(timed(3, 3, {update, training, timing: lively, faults: own}));
			t.is(run.summary.status, 'done', run.summary.reason);
			const steps = run.rows.filter(row => row.kind === 'step').map(row => `${row.actor} ${row.round} ${row.step}`);
			if (!hasDisturbedClient(own)) t.is(new Set(steps).size, steps.length);
			const counts = Object.entries(stepsByRound(run.rows)).filter(
				([key]) => !(hasDisturbedClient(own) && key.startsWith('c1')),
			);
			t.true(counts.length >= 4);
			t.deepEqual([...new Set(counts.map(([, count]) => count))], [6], `${update.kind} ${JSON.stringify(counts)}`);
		}
	});
}

test('a round that closes gives up what is on its way, and its batches are the next to be trained on', async t => {
	const slow = {...fleet(3)};
	slow.clients.c2 = {...device, overheadMs: 60};
	const run = await simulate(
		timed(3, 3, {
			fleet: slow,
			update: {kind: 'sequential'},
			closing: {kind: 'quorum', count: 2, deadlineMs: 600},
			training: {steps: 24, stepsPerRound: 8},
		}),
	);
	const drops = run.rows.filter(row => row.kind === 'drop' && row.actor === 'c2');
	t.true(drops.length > 0);
	const counts = stepsByRound(run.rows);
	t.deepEqual([...new Set(Object.values(counts))], [8], JSON.stringify(counts));
	t.true(Math.max(...Object.keys(run.summary.gradientStaleness).map(Number)) <= 2);
});

for (const aggregation of [{kind: 'fedasync'}, {kind: 'fedbuff', count: 2}] as const) {
	test(`clients at their own pace have several batches on their way: ${aggregation.kind}`, async t => {
		const training = {steps: 12, stepsPerRound: 6};
		const run = await simulate(timed(3, 3, {update: {kind: 'sequential'}, aggregation, training}), {
			arithmetic: 'real',
		});
		t.is(run.summary.status, 'done', run.summary.reason);
		t.deepEqual(Object.keys(run.summary.gradientStaleness), ['0', '1', '2']);
		const losses = run.summary.evaluations.map(({loss}) => loss);
		t.true(losses.at(-1)! < losses[0]!);
	});
}

for (const [what, changes, message] of [
	[
		'without a main server',
		{mainServer: false},
		/`pipelineDepth`.*got 2.*without a main server.*set mainServer to true/,
	],
	[
		'with labels at the clients',
		{labels: 'client', cut: 1},
		/`pipelineDepth`.*got 2.*two trips.*set labels to main-server/,
	],
	[
		'with a quorum of a step',
		{stepClosing: {kind: 'quorum', count: 2}},
		/`pipelineDepth`.*got 2.*quorum.*set stepClosing.kind to all/,
	],
	['of none', {pipelineDepth: 0}, /`pipelineDepth`.*got 0/],
	['of too many', {pipelineDepth: 65}, /`pipelineDepth`.*got 65/],
] as const) {
	test(`a depth ${what} is refused with path and fix`, t => {
		t.throws(() => checkScenario({name: 'x', data: {kind: 'restaurants'}, pipelineDepth: 2, ...changes}), {message});
	});
}
