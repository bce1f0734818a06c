import test from 'ava';
import {tensorOf} from '../../protocols/tensor.ts';
import type {ActorSpec} from '../../runtime/compute/spec.ts';
import {passFlops, totalOf} from '../../runtime/model/flops.ts';
import {mainServerSpec} from '../../runtime/run/plan.ts';
import {workOf} from '../../runtime/sim/cost.ts';
import {simConfig, simScenario, simulate} from '../_helpers/simulate.ts';

const nothing = {flops: 0, lengths: [], targets: 0};

/** FLOPs of a step of the main server over batches of one row of 8 tokens with 5 targets. */
function stepFlops(spec: ActorSpec, cuts: readonly (number | undefined)[]): number {
	const parts = cuts.map(cut => ({lengths: [8], ...(cut !== undefined && {cut})}));
	const labels = tensorOf(new Int32Array(5), [5]);
	const tensors = Object.fromEntries(cuts.map((_, index) => [`${index}.labels`, labels]));
	return workOf(spec, simConfig, {actor: 'main', pass: 'mainStep', input: {parts}, tensors}, nothing).flops;
}

test('a step over batches of unlike cuts costs what each of them costs from its cut on', t => {
	const alone = (cut: number) => stepFlops(mainServerSpec(simScenario({cut, lora: {rank: 4}}), simConfig), [undefined]);
	const mixed = mainServerSpec(simScenario({cut: [1, 3], lora: {rank: 4}}), simConfig);
	t.is(stepFlops(mixed, [1]), alone(1));
	t.is(stepFlops(mixed, [3, 3]), 2 * alone(3));
	t.is(stepFlops(mixed, [3, 1, 1]), alone(3) + 2 * alone(1));
	const whole = passFlops(
		simConfig,
		{from: 1, to: 4, hasEmbedding: false, hasHead: true},
		{lengths: [8], targets: 5},
		{rank: 4, targets: ['q', 'v']},
	);
	t.is(alone(1), totalOf(whole.forward) + totalOf(whole.backward));
});

test('clients of larger cuts compute for longer and wait less for a server, in one run of them', async t => {
	const fleet = {profile: 'edge-lab', servers: {flopsPerSecond: 1e9}} as const;
	const run = await simulate(simScenario({fleet, cut: [1, 3, 2], update: {kind: 'sequential'}}));
	t.is(run.summary.status, 'done');
	const {c0, c1, c2} = run.figures.busyMs as Record<string, number>;
	t.true(c0! < c2! && c2! < c1!, JSON.stringify(run.figures.busyMs));
});

for (const kind of ['loss', 'duplication', 'reordering'] as const) {
	test(`rounds of unlike cuts end whatever happens to their frames: ${kind}`, async t => {
		const rate = 0.15;
		const fault =
			kind === 'reordering' ? ({kind, rate, delayMs: 40, fromMs: 0} as const) : ({kind, rate, fromMs: 0} as const);
		const timing = {answerTimeoutMs: 300, heartbeatMs: 200, leaseMs: 5000};
		const scenario = simScenario({cut: [1, 3], faults: [fault], fleet: {profile: 'edge-lab'}, timing});
		const run = await simulate(scenario);
		t.is(run.summary.status, 'done', run.summary.reason);
		t.is(run.rows.filter(row => row.kind === 'round' && !row.isVoid).length, 2);
	});
}

test('a quorum closes a round of unlike cuts without its straggler', async t => {
	const run = await simulate(
		simScenario({
			cut: [3, 1, 2],
			fleet: {profile: 'edge-lab'},
			faults: [{kind: 'straggle', client: 'c0', factor: 1e5, fromMs: 0}],
			closing: {kind: 'quorum', count: 2, deadlineMs: 400},
			update: {kind: 'sequential'},
		}),
	);
	t.is(run.summary.status, 'done', run.summary.reason);
	t.is(run.rows.filter(row => row.kind === 'round' && !row.isVoid).length, 2);
});
