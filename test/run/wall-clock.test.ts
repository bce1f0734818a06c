/**
Simulated devices, links and faults by the wall clock: the same training, in real time, beside what they said it would take.
*/
import test from 'ava';
import {createMemoryBroker} from '../../runtime/bus/memory.ts';
import {WallTime} from '../../runtime/live/wall-time.ts';
import {besidePrediction} from '../../runtime/run/prediction.ts';
import {simScenario, simulate} from '../_helpers/simulate.ts';

/** Passes and links of a few milliseconds. */
const fleet = {
	profile: 'ideal' as const,
	clients: Object.fromEntries(['c0', 'c1', 'c2'].map(id => [id, {overheadMs: 4, latencyMs: 2}])),
	servers: {overheadMs: 1, latencyMs: 1},
};

/** All but times and bytes (a message may hold a time), in an order of their own; floats apart, since in virtual time clients are computed together and round otherwise. */
function rowsOf(all: readonly {readonly [field: string]: unknown}[]) {
	const rows = all.map(({timeMs, bytesUp, bytesDown, loss, perplexity, gradientNorm, ...row}) => ({
		key: JSON.stringify(row),
		floats: [loss, perplexity, gradientNorm].map(Number).filter(Number.isFinite),
	}));
	const sorted = rows.toSorted((a, b) => (a.key < b.key ? -1 : 1));
	return {keys: sorted.map(({key}) => key), floats: sorted.flatMap(({floats}) => floats)};
}

for (const bus of ['no bus of its own', 'a bus that is really there'] as const) {
	test(`a run by the wall clock over ${bus} trains as in virtual time, and no sooner`, async t => {
		const scenario = simScenario({fleet, lora: {dropout: 0}});
		const broker = createMemoryBroker();
		const connectReal = bus === 'no bus of its own' ? undefined : () => Promise.resolve(broker.connect());
		const virtual = await simulate(scenario, {arithmetic: 'real'});
		const wall = await simulate(scenario, {arithmetic: 'real', clock: 'wall', ...(connectReal && {connectReal})});
		t.is(wall.summary.status, 'done', wall.summary.reason);
		const [here, there] = [rowsOf(wall.rows), rowsOf(virtual.rows)];
		t.deepEqual(here.keys, there.keys);
		for (const [index, value] of here.floats.entries())
			t.true(Math.abs(value - there.floats[index]!) <= 1e-4 * Math.abs(value), `${value}, ${there.floats[index]}`);
		// A timer of Node.js counts whole milliseconds of its own clock and may be a fraction of one early.
		const timersEarlyS = 0.1;
		t.true(wall.summary.seconds > virtual.summary.seconds - timersEarlyS);
		const {busyMs} = virtual.figures;
		for (const [actor, ms] of Object.entries(busyMs)) t.true(Math.abs(wall.figures.busyMs[actor]! - ms) < 1e-6, actor);
		t.true(Object.values(wall.figures.measuredMs).some(ms => ms > 0));
	});
}

test('faults happen by the wall clock too', async t => {
	const faults = [{kind: 'dropout' as const, client: 'c2', atMs: 30, isAnnounced: true}];
	const {summary} = await simulate(simScenario({fleet, faults, closing: {kind: 'all'}, training: {steps: 20}}), {
		clock: 'wall',
	});
	t.is(summary.status, 'done', summary.reason);
	t.regex(summary.reason, /c2: dropped out at \d+ ms, announced, as the scenario says/);
});

test('what was predicted stands beside what was measured, round by round and role by role', async t => {
	const scenario = simScenario({fleet});
	const {rows, figures, summary} = await simulate(scenario);
	const ends = {0: 0.5, 1: 1.25};
	const measured = {
		...figures,
		measuredMs: Object.fromEntries(Object.entries(figures.busyMs).map(([actor, ms]) => [actor, 3 * ms])),
	};
	const beside = besidePrediction(
		{seconds: 1.5, roundEnds: ends},
		{scenario, rows, seconds: summary.seconds, figures: measured},
	);
	t.deepEqual(beside.run, {predicted: 1.5, measured: summary.seconds});
	t.deepEqual(
		beside.rounds.map(({round, predicted}) => [round, predicted]),
		[
			[0, 0.5],
			[1, 1.25],
		],
	);
	const closed = rows.filter(({kind}) => kind === 'round').map(({timeMs}) => timeMs / 1000);
	t.deepEqual(
		beside.rounds.map(({measured: at}) => at),
		closed,
	);
	// 3 clients, 4 steps, a forward and a backward of 4 ms each.
	t.true(Math.abs(beside.passes.client!.predicted - 0.096) < 1e-9);
	t.true(Math.abs(beside.passes.client!.measured - 0.288) < 1e-9);
});

test('the wall’s time stands until it is let go, and an error in an event ends it with its text', async t => {
	const time = new WallTime(() => Promise.resolve());
	const fired: string[] = [];
	time.at(0, 'a', () => void fired.push('kept'));
	time.at(0, 'a', () => void fired.push('taken back'))();
	t.is(time.nowMs, 0);
	const running = time.run();
	time.at(1, 'a', () => Promise.reject(new Error('the disk is gone')));
	t.is(await running, 'the disk is gone');
	t.deepEqual(fired, ['kept']);
	time.stop();
});

test('nothing more happens by the wall clock once it is stopped', async t => {
	const time = new WallTime(() => Promise.resolve());
	const running = time.run();
	time.clockOf('a').setTimeout(() => t.fail(), 0);
	time.stop();
	t.is(await running, undefined);
});
