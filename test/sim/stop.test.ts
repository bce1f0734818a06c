import test from 'ava';
import {checkScenario} from '../../protocols/check-scenario.ts';
import type {LiveRun} from '../../runtime/run/live-run.ts';
import {simScenario, simulate} from '../_helpers/simulate.ts';

const long = {training: {steps: 40, stepsPerRound: 2}};
const evaluated = {evaluation: {everyRounds: 1}};

test('a run ends after as many rounds as its scenario says', async t => {
	const {summary} = await simulate(simScenario({...long, stop: {rounds: 3}}));
	t.is(summary.status, 'done');
	t.is(summary.rounds, 3);
	t.is(summary.steps, 3 * 3 * 2);
	t.regex(summary.reason, /stopped: 3 rounds are done/);
});

test('a run ends with the round in which its tokens are reached', async t => {
	const {summary, rows} = await simulate(simScenario({...long, stop: {tokens: 150}}));
	t.is(summary.status, 'done');
	t.regex(summary.reason, /stopped: the clients have trained on \d+ tokens, of stop.tokens 150/);
	const before = rows.filter(row => row.kind === 'step' && Number(row.round) < summary.rounds - 1);
	t.true(summary.tokens >= 150);
	t.true(before.reduce((sum, row) => sum + Number(row.tokens), 0) < 150, 'not a round earlier');
});

test('a run ends with the round under way when the validation loss is reached', async t => {
	const whole = await simulate(simScenario({...long, ...evaluated}), {arithmetic: 'real'});
	const losses = whole.summary.evaluations.map(({loss}) => loss);
	const targetLoss = (Math.max(...losses) + Math.min(...losses)) / 2;
	const {summary} = await simulate(simScenario({...long, ...evaluated, stop: {targetLoss}}), {arithmetic: 'real'});
	t.is(summary.status, 'done');
	t.regex(summary.reason, /stopped: the validation loss came to \d+\.\d+, of stop.targetLoss/);
	const reached = losses.findIndex(loss => loss <= targetLoss);
	t.true(reached > 0 && reached < losses.length - 2);
	t.deepEqual(
		summary.evaluations.map(({loss}) => loss),
		losses.slice(0, reached + 2),
	);
});

test('a run ends with the round under way when its time is over', async t => {
	const {summary, rows} = await simulate(simScenario({...long, stop: {timeMs: 300}}));
	t.is(summary.status, 'done');
	t.regex(summary.reason, /stopped: stop.timeMs 300 is over/);
	const rounds = rows.filter(({kind}) => kind === 'round').map(({timeMs}) => timeMs);
	t.true(rounds.at(-1)! >= 300 && rounds.at(-2)! <= 300, `${rounds}`);
});

test('a target that is never measured is refused', t => {
	const file = {name: 'x', data: {kind: 'restaurants'}, evaluation: {everyRounds: 0}, stop: {targetLoss: 2}};
	t.throws(() => checkScenario(file), {message: /`stop.targetLoss`.*set evaluation.everyRounds/});
});

test('a run whose clients have all left for a while waits for the next one, and goes on', async t => {
	const faults = ['c0', 'c1', 'c2'].map(
		client => ({kind: 'flap', client, fromMs: 0, hereMs: 200, awayMs: 5000, toMs: 6000, isAnnounced: true}) as const,
	);
	const {summary, rows} = await simulate(simScenario({...long, faults}));
	t.is(summary.status, 'done');
	t.true(rows.some(row => row.kind === 'step' && row.timeMs < 200));
	t.false(rows.some(row => row.kind === 'step' && row.timeMs > 260 && row.timeMs < 5200));
	t.true(rows.filter(row => row.kind === 'step' && row.timeMs > 5200).length > 20);
	t.true(summary.seconds < 60, 'it ends when the fed server does');
});

test('a run whose clients come and go and never train ends, with the reason', async t => {
	const faults = [
		{kind: 'flap', client: 'c0', fromMs: 0, hereMs: 5000, awayMs: 5000, isAnnounced: true} as const,
		{kind: 'loss', rate: 1, fromMs: 0} as const,
	];
	const scenario = simScenario({...long, clients: 1, faults, fleet: {dayMs: 100_000}});
	const {summary, figures} = await simulate(scenario);
	t.is(summary.status, 'failed');
	t.regex(summary.reason, /nothing was achieved/);
	t.true(figures.virtualMs < 1_000_000);
});

/** One of three clients crashes early, another has not come yet; the run is interrupted after the first round that misses one. */
async function interrupted(hereMs: number) {
	let live: LiveRun | undefined;
	const faults = [
		{kind: 'crash', client: 'c1', atMs: 60, returnMs: hereMs} as const,
		{kind: 'late-join', client: 'c2', atMs: hereMs} as const,
	];
	const scenario = simScenario({...long, faults, timing: {heartbeatMs: 100, leaseMs: 600}});
	return simulate(scenario, {
		onLive: run => {
			live = run;
		},
		// From outside an event, as a signal comes.
		onRow: row => {
			if (row.kind === 'round' && row.timeMs > 60) setImmediate(() => live?.interrupt());
		},
	});
}

test('a run can be interrupted while clients are away', async t => {
	const {summary, figures} = await interrupted(50_000);
	t.is(summary.status, 'interrupted');
	t.true(figures.virtualMs < 50_000);
});

test('who comes back while a run is being interrupted pauses too', async t => {
	const {summary} = await interrupted(840);
	t.is(summary.status, 'interrupted');
});
