/**
More of the situations that broke other systems, and rounds that nobody delivers. The rest of them is in `cases.test.ts` and
`cases-faults.test.ts`; who may come in under which id and hash is a matter of one message: `test/actors/main-server.test.ts` and
`test/actors/fed-server.test.ts`.
*/
import test from 'ava';
import type {ScenarioFile} from '../../protocols/scenario.ts';
import {chunked} from '../../runtime/bus/chunked.ts';
import {createMemoryBroker} from '../../runtime/bus/memory.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {simScenario, simulate} from '../_helpers/simulate.ts';

const timing = {answerTimeoutMs: 1000, heartbeatMs: 500, leaseMs: 3000};

test('case 7: frames longer than the broker allows go in pieces, and the run is the same', async t => {
	const scenario = simScenario({timing, fleet: {profile: 'edge-lab'}});
	const whole = await simulate(scenario);
	const maxPayloadBytes = 512;
	const broker = createMemoryBroker({maxPayloadBytes});
	let longest = 0;
	let pieces = 0;
	const watch = broker.connect();
	watch.subscribe('>', ({body}) => {
		longest = Math.max(longest, body.byteLength);
		pieces++;
	});
	const cut = await simulate(scenario, {connectReal: () => Promise.resolve(chunked(broker.connect(), {now: () => 0}))});
	await watch.close();
	t.is(cut.metrics, whole.metrics);
	t.true(longest > maxPayloadBytes / 2 && longest <= maxPayloadBytes, `${longest}`);
	t.true(pieces > cut.figures.messages, `${pieces} pieces of ${cut.figures.messages} messages`);
});

for (const kind of ['zero-padding', 'flexlora', 'flora'] as const) {
	test(`case 10: clients of ranks 1, 2 and 4 train together under ${kind}`, async t => {
		const lora = {rank: 2, ranks: [1, 2, 4], alpha: 8, dropout: 0};
		const training = {steps: 8, stepsPerRound: 2, learningRate: 2e-2, schedule: {kind: 'constant'}} as const;
		const run = await simulate(simScenario({timing, lora, training, aggregation: {kind}}), {arithmetic: 'real'});
		t.is(run.summary.status, 'done', run.summary.reason);
		t.deepEqual(run.summary.dropped, {});
		t.is(run.summary.steps, 24);
		const losses = run.summary.evaluations.map(({loss}) => loss);
		t.true(losses.at(-1)! < losses[0]!, `${losses}`);
	});
}

for (const what of [{}, {pipelineDepth: 3}, {labels: 'client', cut: 1}, {update: {kind: 'replicas'}}] as const) {
	test.serial(
		`case 13: live tensors are flat over many steps, and gone with the run: ${JSON.stringify(what)}`,
		async t => {
			const {kernels} = await nativeBackend();
			const before = kernels.liveTensors();
			const live: number[] = [];
			const scenario = simScenario({timing, ...what, clients: 2, training: {steps: 24, stepsPerRound: 4}});
			const run = await simulate(scenario, {
				arithmetic: 'real',
				onRow: row => row.kind === 'round' && live.push(kernels.liveTensors()),
			});
			t.is(run.summary.status, 'done', run.summary.reason);
			t.is(live.length, 6);
			t.is(Math.max(...live.slice(1)), live[1]!, `${live}`);
			t.true(live[1]! > before);
			t.is(kernels.liveTensors(), before);
		},
	);
}

test('a round that nobody delivers is void: it takes its place, and no version changes', async t => {
	const gone = ['c0', 'c1', 'c2'].map(client => ({kind: 'crash' as const, client, atMs: 300, returnMs: 800}));
	const run = await simulate(
		simScenario({
			timing: {answerTimeoutMs: 100, heartbeatMs: 50, leaseMs: 200},
			fleet: {profile: 'ideal', clients: Object.fromEntries(gone.map(({client}) => [client, {overheadMs: 40}]))},
			training: {steps: 8, stepsPerRound: 2},
			faults: gone,
		}),
	);
	t.is(run.summary.status, 'done', run.summary.reason);
	const rounds = run.rows.filter(row => row.kind === 'round');
	const voids = rounds.filter(row => row.isVoid);
	t.true(voids.length > 0, JSON.stringify(rounds));
	t.deepEqual(
		rounds.map(row => row.round),
		rounds.map((_, index) => index),
	);
	let version = 0;
	for (const row of rounds) {
		if (!row.isVoid) version++;
		t.is(row.adapterVersion, version, JSON.stringify(row));
	}
});

test('a quorum that can no longer be met makes its round void, and the next begins from the same adapter', async t => {
	const faults: ScenarioFile['faults'] = ['c1', 'c2'].map(client => ({
		kind: 'crash',
		client,
		atMs: 100,
		returnMs: 900,
	}));
	const run = await simulate(
		simScenario({
			timing: {answerTimeoutMs: 100, heartbeatMs: 50, leaseMs: 200},
			fleet: {profile: 'ideal', clients: {c0: {overheadMs: 40}, c1: {overheadMs: 40}, c2: {overheadMs: 40}}},
			training: {steps: 6, stepsPerRound: 2},
			closing: {kind: 'quorum', count: 3, deadlineMs: 400},
			faults,
		}),
	);
	const rounds = run.rows.filter(row => row.kind === 'round');
	t.true(
		rounds.some(row => row.isVoid),
		JSON.stringify(rounds),
	);
	for (const [index, row] of rounds.entries())
		if (row.isVoid) t.is(row.adapterVersion, index === 0 ? 0 : rounds[index - 1]!.adapterVersion);
});

test('a client without an adapter, as its cut is at 0, has none that could be damaged', async t => {
	const faults: ScenarioFile['faults'] = [{kind: 'non-finite', client: 'c1', tensor: 'adapter', atMs: 0}];
	const run = await simulate(simScenario({timing, cut: 0, faults}));
	t.is(run.summary.reason, 'all steps are done');
	t.is(run.summary.steps, 12);
});
