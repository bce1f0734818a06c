/**
A run that can make no progress ends at once with its reason, whatever its policies wait for.
*/
import test from 'ava';
import type {ScenarioFile} from '../../protocols/scenario.ts';
import {simScenario, simulate} from '../_helpers/simulate.ts';

type Part = Partial<ScenarioFile>;
const ownPace: Part = {update: {kind: 'sequential'}};

const policies: Part[] = [
	{closing: {kind: 'all'}},
	{closing: {kind: 'quorum', count: 2, deadlineMs: 500, late: 'carry'}},
	{closing: {kind: 'overselect', count: 2}, selection: {kind: 'random'}},
	{closing: {kind: 'adaptive', firstDeadlineMs: 500}, selection: {kind: 'available'}},
	{selection: {kind: 'random', count: 2}},
	{selection: {kind: 'power-of-choice', count: 1, candidates: 2}},
	{selection: {kind: 'oort', count: 2}},
	{stepClosing: {kind: 'quorum', count: 2, deadlineMs: 500}},
	{update: {kind: 'replicas'}},
	{update: {kind: 'buffered', count: 2}},
	{aggregation: {kind: 'fedasync'}, ...ownPace},
	{aggregation: {kind: 'fedbuff', count: 3}, update: {kind: 'buffered', count: 3}},
	{aggregation: {kind: 'fedbuff', count: 2}, mainServer: false},
];
const timing = {answerTimeoutMs: 300, heartbeatMs: 200, leaseMs: 2000};
const gone = (isAnnounced: boolean) =>
	['c0', 'c1', 'c2'].map((client, index) => ({kind: 'dropout', client, atMs: 60 + 20 * index, isAnnounced}) as const);

for (const isAnnounced of [true, false]) {
	// Who fell silent is missed by the lease alone, whatever the policy.
	for (const part of isAnnounced ? policies : policies.slice(0, 2).concat(policies.slice(-2))) {
		const how = `${isAnnounced ? 'left' : 'fallen silent'} ends with its reason: ${JSON.stringify(part)}`;
		test(`a run whose clients have all ${how}`, async t => {
			const scenario = simScenario({
				timing,
				faults: gone(isAnnounced),
				training: {steps: 40, stepsPerRound: 2},
				...part,
			});
			const {summary, figures} = await simulate(scenario);
			t.is(summary.status, 'failed');
			t.regex(
				summary.reason,
				/^every client gave up: c0: dropped out at 60 ms, [a-z ]+, as the scenario says; c1: .*; c2: /,
			);
			t.true(figures.virtualMs < 200, `${figures.virtualMs}`);
		});
	}
}

test('where no message arrives a run of asynchronous rounds ends when nobody can wait for anything any more', async t => {
	const faults = [{kind: 'loss', rate: 1, fromMs: 60} as const];
	const {summary, figures} = await simulate(simScenario({...ownPace, timing, faults, aggregation: {kind: 'fedasync'}}));
	t.is(summary.status, 'failed');
	t.regex(summary.reason, /nothing was achieved for 7500 ms of virtual time: everybody waits|every client gave up/);
	t.true(figures.virtualMs < 20_000, `${figures.virtualMs}`);
});

test('clients without data end a run of asynchronous rounds with the reason', async t => {
	const aggregation = {kind: 'fedasync'} as const;
	const empty = ['c0', 'c1', 'c2'].map(client => ({kind: 'empty-shard', client}) as const);
	const {summary} = await simulate(simScenario({...ownPace, timing, aggregation, faults: empty}));
	t.is(summary.status, 'failed');
	t.regex(summary.reason, /No client can train: 3 of 3 joined and none of them has data/);
});

test('one client that is left goes on by itself where every client goes at its own pace, and fills the buffer alone', async t => {
	const aggregation = {kind: 'fedbuff', count: 3, aggregations: 5} as const;
	const faults = gone(true).slice(0, 2);
	const {summary, rows} = await simulate(simScenario({...ownPace, timing, aggregation, faults}));
	t.is(summary.status, 'done', summary.reason);
	t.is(rows.filter(({kind}) => kind === 'round').length, 5);
	t.true(rows.some(row => row.kind === 'step' && row.actor === 'c2' && Number(row.round) > 6));
});

test('a client that is away again before it can end a step does not keep a run going', async t => {
	const client = {overheadMs: 130};
	const {summary, figures} = await simulate(
		simScenario({
			clients: 1,
			timing,
			fleet: {clients: {c0: client}},
			faults: [{kind: 'flap', client: 'c0', fromMs: 0, hereMs: 120, awayMs: 60, isAnnounced: false}],
		}),
		{trace: {level: 'off', code: 'test', backend: 'test'}},
	);
	t.is(summary.status, 'failed');
	t.regex(summary.reason, /nothing was achieved for 7500 ms of virtual time/);
	t.true(figures.virtualMs < 4e6, `${figures.virtualMs}`);
});
