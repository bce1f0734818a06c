import test from 'ava';
import {checkScenario} from '../../protocols/check-scenario.ts';
import type {Fault} from '../../protocols/faults.ts';
import {tensorOf} from '../../protocols/tensor.ts';
import type {ActorSpec} from '../../runtime/compute/spec.ts';
import {passFlops, totalOf} from '../../runtime/model/flops.ts';
import {checkAgainstModel, clientSpec, mainServerSpec} from '../../runtime/run/plan.ts';
import {workOf} from '../../runtime/sim/cost.ts';
import {simConfig, simScenario, simulate} from '../_helpers/simulate.ts';

const uShaped = {cut: 1, labels: 'client', tailBlocks: 1} as const;
const timing = {answerTimeoutMs: 300, heartbeatMs: 200, leaseMs: 2000};

const faults: Record<string, Fault[]> = {
	loss: [{kind: 'loss', rate: 0.1, fromMs: 0}],
	duplication: [{kind: 'duplication', rate: 0.4, fromMs: 0}],
	reordering: [{kind: 'reordering', rate: 0.4, delayMs: 40, fromMs: 0}],
	corruption: [{kind: 'corruption', rate: 0.05, fromMs: 0}],
	'a client that leaves in mid-step': [{kind: 'dropout', client: 'c1', atMs: 60, isAnnounced: true}],
	'a client that vanishes in mid-step': [{kind: 'dropout', client: 'c1', atMs: 60, isAnnounced: false}],
	'a client that comes back': [{kind: 'crash', client: 'c1', atMs: 60, returnMs: 100}],
	'a client that is cut off': [{kind: 'partition', clients: ['c1'], fromMs: 50, toMs: 900}],
};

for (const [what, own] of Object.entries(faults)) {
	for (const kind of ['parallel', 'sequential'] as const) {
		test(`a run whose labels stay with the clients ends well under ${what} (${kind})`, async t => {
			const fleet = {profile: 'edge-lab'} as const;
			const run = await simulate(simScenario({...uShaped, fleet, timing, faults: own, update: {kind}}));
			t.is(run.summary.status, 'done', run.summary.reason);
			t.is(run.rows.filter(row => row.kind === 'round' && !row.isVoid).length, 2);
		});
	}
}

test('passes of both sides cost the FLOPs of the blocks they go through', t => {
	const scenario = simScenario({...uShaped, lora: {rank: 4}});
	const lora = {rank: 4, targets: ['q', 'v'] as const};
	const shape = {lengths: [8], targets: 5};
	const flops = (from: number, to: number, end: {hasEmbedding?: boolean; hasHead?: boolean}) =>
		passFlops(simConfig, {from, to, hasEmbedding: false, hasHead: false, ...end}, shape, {
			...lora,
			targets: ['q', 'v'],
		});
	const batch = {'batch.labels': tensorOf(new Int32Array(5), [5])};
	const last = {flops: 0, lengths: [8], targets: 5};
	const work = (spec: ActorSpec, pass: string, input: object) =>
		workOf(spec, simConfig, {actor: 'a', pass, input, tensors: batch}, last).flops;
	const client = clientSpec(scenario, simConfig, 'c0');
	const main = mainServerSpec(scenario, simConfig);
	const [head, middle, end] = [flops(0, 1, {hasEmbedding: true}), flops(1, 3, {}), flops(3, 4, {hasHead: true})];
	t.is(work(client, 'forward', {lengths: [8]}), totalOf(head.forward));
	t.is(work(client, 'tailStep', {lengths: [8]}), totalOf(end.forward) + totalOf(end.backward));
	t.is(work(client, 'backward', {}), totalOf(head.backward));
	t.is(work(main, 'mainForward', {parts: [{lengths: [8]}]}), totalOf(middle.forward));
	t.is(work(main, 'mainBackward', {parts: [{lengths: [8]}]}), totalOf(middle.backward));
});

const scenario = (changes: object) =>
	checkScenario({name: 'u', clients: 3, data: {kind: 'restaurants'}, labels: 'client', ...changes});

for (const [what, changes, message] of [
	['without a main server', {mainServer: false}, /`labels`.*never leave.*set mainServer/],
	['with unlike cuts', {cut: [1, 2]}, /`labels`.*need one cut.*leave out `labels`/],
	[
		'with a quorum of a step',
		{stepClosing: {kind: 'quorum', count: 2}},
		/`labels`.*none closes at a quorum; set stepClos/,
	],
] as const) {
	test(`labels at the clients are refused ${what}, with path and fix`, t => {
		t.throws(() => scenario(changes), {message});
	});
}

test('an end that leaves the main server no block is refused', t => {
	t.throws(() => checkAgainstModel(scenario({cut: 2, tailBlocks: 2}), simConfig), {
		message: /`tailBlocks`.*a head of 2 and an end of 2 blocks leave the main server none of the 4/,
	});
});
