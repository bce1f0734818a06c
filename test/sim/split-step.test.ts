import test from 'ava';
import {checkScenario} from '../../protocols/check-scenario.ts';
import type {ScenarioFile} from '../../protocols/scenario.ts';
import type {MetricsRow} from '../../runtime/run/recorder.ts';
import {simScenario, simulate} from '../_helpers/simulate.ts';
import {stepsByRound} from '../_helpers/steps-by-round.ts';

const straggler: ScenarioFile['faults'] = [{kind: 'straggle', client: 'c2', factor: 2e4, fromMs: 0}];
const fleet = {profile: 'edge-lab'} as const;
const quorum = (missing: 'drop' | 'reuse') => ({kind: 'quorum', count: 2, deadlineMs: 10, missing}) as const;
const training = {steps: 12, stepsPerRound: 6} as const;

const lastStepMs = (rows: readonly MetricsRow[], client: string) =>
	rows.findLast(row => row.kind === 'step' && row.actor === client)!.timeMs;

const stepsOf = (rows: readonly MetricsRow[], client: string) =>
	rows.filter(row => row.kind === 'step' && row.actor === client).length;

for (const missing of ['drop', 'reuse'] as const) {
	test(`a quorum inside a step goes on without a straggler, whose steps and drops add up to I (${missing})`, async t => {
		const patient = await simulate(simScenario({fleet, faults: straggler, training}));
		const run = await simulate(simScenario({fleet, faults: straggler, training, stepClosing: quorum(missing)}));
		t.is(run.summary.status, 'done');
		t.deepEqual([stepsOf(run.rows, 'c0'), stepsOf(run.rows, 'c1')], [12, 12]);
		t.true(stepsOf(run.rows, 'c2') > 0 && stepsOf(run.rows, 'c2') < 12, String(stepsOf(run.rows, 'c2')));
		t.true(lastStepMs(run.rows, 'c0') < lastStepMs(patient.rows, 'c0'));
		const counts = stepsByRound(run.rows);
		t.deepEqual([...new Set(Object.values(counts))], [6], JSON.stringify(counts));
		const total = Object.values(run.summary.stepsDropped).reduce((sum, count) => sum + count, 0);
		t.is(total, 12 - stepsOf(run.rows, 'c2'));
		const staleness = Object.keys(run.summary.gradientStaleness).map(Number);
		t.is(Math.min(...staleness), 0);
		t.is(Math.max(...staleness) > 0, missing === 'reuse');
	});
}

test('reusing the last gradient trains the straggler otherwise than dropping its steps', async t => {
	const losses: number[] = [];
	for (const missing of ['drop', 'reuse'] as const) {
		const scenario = simScenario({fleet, faults: straggler, training, stepClosing: quorum(missing)});
		const run = await simulate(scenario, {arithmetic: 'real'});
		losses.push(run.summary.evaluations.at(-1)!.loss);
	}
	t.not(losses[0], losses[1]);
});

test('a step whose quorum cannot be met any more is skipped by all, and nothing is trained', async t => {
	const faults: ScenarioFile['faults'] = ['c1', 'c2'].map(client => ({
		kind: 'dropout' as const,
		client,
		atMs: 1,
		isAnnounced: true,
	}));
	const run = await simulate(simScenario({fleet, faults, training, stepClosing: quorum('drop')}));
	const first = run.rows.filter(row => row.kind === 'step' && row.round === 0 && row.timeMs > 50);
	t.deepEqual(first, []);
	t.is(stepsByRound(run.rows)['c0 0'], 6);
});

test('steps cut off by the end of their round leave a row that says so', async t => {
	const closing = {kind: 'quorum', count: 2, deadlineMs: 200} as const;
	const update = {kind: 'sequential'} as const;
	const run = await simulate(simScenario({fleet, faults: straggler, training, update, closing}));
	const drops = run.rows.filter(row => row.kind === 'drop' && row.verb !== 'upload');
	t.true(drops.length > 0);
	t.deepEqual([...new Set(drops.map(row => row.actor))], ['c2']);
	t.true(drops.every(row => row.reason === 'round closed' || row.reason === 'next round opened'));
	const counts = stepsByRound(run.rows);
	t.true(
		Object.entries(counts).every(([, count]) => count === 6),
		JSON.stringify(counts),
	);
});

test('copies of the tail see only their own steps: no server staleness', async t => {
	const run = await simulate(simScenario({fleet, update: {kind: 'replicas'}, training}), {arithmetic: 'real'});
	t.is(run.summary.status, 'done');
	t.deepEqual(run.summary.serverStaleness, {0: 36});
	t.is(run.summary.evaluations.length, 3);
});

for (const [what, scenario, message] of [
	['without a rule', {stepClosing: {kind: 'quorum'}}, /`stepClosing`.*either count or fraction/],
	['of too many', {stepClosing: {kind: 'quorum', count: 9}}, /`stepClosing.count`.*at most the 3 clients, got 9/],
	[
		'with a sequential server',
		{stepClosing: {kind: 'quorum', count: 2}, update: {kind: 'sequential'}},
		/`stepClosing`.*needs the update parallel, got sequential/,
	],
	['without a main server', {stepClosing: {kind: 'quorum', count: 2}, mainServer: false}, /`stepClosing`.*main server/],
] as const) {
	test(`a quorum of a step ${what} is refused with path and fix`, t => {
		t.throws(() => checkScenario({name: 'x', data: {kind: 'restaurants'}, ...scenario}), {message});
	});
}
