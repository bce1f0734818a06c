import test from 'ava';
import {checkScenario} from '../../protocols/check-scenario.ts';
import type {ScenarioFile} from '../../protocols/scenario.ts';
import {type Simulated, simScenario, simulate} from '../_helpers/simulate.ts';

const timing = {answerTimeoutMs: 1000, heartbeatMs: 500, leaseMs: 3000};
const run = (scenario: Partial<ScenarioFile>, options = {}) => simulate(simScenario({timing, ...scenario}), options);
const roundsOf = ({rows}: Simulated) => rows.filter(({kind}) => kind === 'round');
const stepsOf = ({rows}: Simulated, client: string) => rows.filter(row => row.kind === 'step' && row.client === client);

test('every client takes each step once, and every upload of every round counts', async t => {
	const result = await run({clients: 4});
	t.is(result.summary.status, 'done');
	for (const client of ['c0', 'c1', 'c2', 'c3']) {
		t.deepEqual(
			stepsOf(result, client).map(({round, step}) => [round, step]),
			[
				[0, 0],
				[0, 1],
				[1, 0],
				[1, 1],
			],
		);
	}
	t.deepEqual(
		roundsOf(result).map(({uploads, cohort, adapterVersion}) => [uploads, cohort, adapterVersion]),
		[
			[4, 4, 1],
			[4, 4, 2],
		],
	);
});

test('virtual time never goes back, and the ideal fleet needs none', async t => {
	const modelled = await run({});
	const times = modelled.rows.map(({timeMs}) => timeMs);
	t.deepEqual(
		times,
		times.toSorted((a, b) => a - b),
	);
	t.true(times.at(-1)! > 0);
	const ideal = await run({fleet: {profile: 'ideal'}, timing: {...timing, heartbeatMs: 0, leaseMs: 0}});
	t.true(ideal.rows.every(({timeMs}) => timeMs === 0));
});

test('a quorum met at its deadline closes the round without the client that died in silence, and names it', async t => {
	const result = await run({
		clients: 2,
		mainServer: false,
		closing: {kind: 'quorum', count: 1, deadlineMs: 10_000},
		faults: [{kind: 'dropout', client: 'c1', atMs: 30, isAnnounced: false}],
		timing: {answerTimeoutMs: 1000, heartbeatMs: 500, leaseMs: 60_000},
	});
	t.is(result.summary.status, 'done');
	const [first] = roundsOf(result);
	t.is(first!.uploads, 1);
	t.true(first!.timeMs >= 10_000 && first!.timeMs < 10_500, `closed at ${first!.timeMs}`);
	t.regex(result.summary.reason, /c1: dropped out at 30 ms, in silence/);
});

test('a client that falls silent is gone when its lease ends; the others go on', async t => {
	const result = await run({faults: [{kind: 'dropout', client: 'c2', atMs: 40, isAnnounced: false}]});
	t.is(result.summary.status, 'done');
	t.is(stepsOf(result, 'c0').length, 4);
	t.is(roundsOf(result)[0]!.gone, 'c2');
	const {timeMs} = roundsOf(result)[0]!;
	t.true(timeMs >= 3000 && timeMs < 6000, `closed at ${timeMs}`);
});

test('an announced dropout costs no waiting', async t => {
	const result = await run({faults: [{kind: 'dropout', client: 'c2', atMs: 40, isAnnounced: true}]});
	t.is(result.summary.status, 'done');
	t.true(roundsOf(result)[0]!.timeMs < 1000);
});

test('a client that crashes and returns is a new incarnation with work at the latest in the next round', async t => {
	const result = await run({
		training: {steps: 12, stepsPerRound: 2},
		faults: [{kind: 'crash', client: 'c1', atMs: 60, returnMs: 300}],
	});
	t.is(result.summary.status, 'done');
	const rounds = stepsOf(result, 'c1').map(({round}) => Number(round));
	t.is(rounds.at(-1), 5);
	t.true(rounds.every(round => round >= 0));
	t.deepEqual(
		roundsOf(result).map(({adapterVersion}) => adapterVersion),
		[1, 2, 3, 4, 5, 6],
	);
});

test('a client that joins late is in a later cohort, and nobody waits for it before', async t => {
	const result = await run({
		training: {steps: 12, stepsPerRound: 2},
		faults: [{kind: 'late-join', client: 'c2', atMs: 250}],
	});
	t.is(result.summary.status, 'done');
	t.is(roundsOf(result)[0]!.cohort, 2);
	t.is(roundsOf(result).at(-1)!.cohort, 3);
	t.true(stepsOf(result, 'c2').length < 12 && stepsOf(result, 'c2').length > 0);
});

test('a client a hundred times slower is only late: the others keep their leases and every step counts once', async t => {
	const slow = {flopsPerSecond: 1e5};
	const result = await run({clients: 2, fleet: {clients: {c1: slow}}});
	t.is(result.summary.status, 'done');
	t.deepEqual(
		roundsOf(result).map(({gone, uploads}) => [gone, uploads]),
		[
			['', 2],
			['', 2],
		],
	);
	t.true(roundsOf(result)[0]!.timeMs > 3000, 'longer than a lease');
	t.is(stepsOf(result, 'c0').length, 4);
});

test('a fault of the arithmetic ends one client with its error, and the round follows its rule', async t => {
	const result = await run(
		{},
		{
			wrap: (compute: {run: (request: {actor: string; pass: string}) => Promise<unknown>}) => ({
				run: (request: {actor: string; pass: string}) =>
					request.actor === 'c1' && request.pass === 'backward'
						? Promise.reject(new Error('out of luck'))
						: compute.run(request),
				close: () => Promise.resolve(),
			}),
		},
	);
	t.is(result.summary.status, 'done');
	t.regex(result.summary.reason, /c1: backward failed: out of luck/);
	t.is(stepsOf(result, 'c0').length, 4);
});

test('a client without rows joins and is in no cohort; one row is enough', async t => {
	const result = await simulate(simScenario({timing}), {samplesOf: index => index});
	t.is(result.summary.status, 'done');
	t.is(stepsOf(result, 'c0').length, 0);
	t.is(stepsOf(result, 'c1').length, 4);
	t.is(roundsOf(result)[0]!.cohort, 2);
});

test('a run whose clients are all gone ends at once with the reason', async t => {
	const faults = ['c0', 'c1', 'c2'].map(client => ({kind: 'dropout' as const, client, atMs: 40, isAnnounced: false}));
	const result = await run({faults});
	t.is(result.summary.status, 'failed');
	t.regex(result.summary.reason, /every client gave up: c0: dropped out at 40 ms/);
	t.true(result.figures.virtualMs < 1000);
});

test('a run that waits for somebody who cannot come says so instead of waiting', async t => {
	const result = await run({
		faults: [{kind: 'dropout', client: 'c2', atMs: 40, isAnnounced: false}],
		timing: {answerTimeoutMs: 1000, heartbeatMs: 500, leaseMs: 0},
	});
	t.is(result.summary.status, 'failed');
	t.regex(result.summary.reason, /everybody waits for somebody who will not come/);
});

test('lost and doubled messages change how long a run takes and never what it counts', async t => {
	const calm = await run({timing: {...timing, leaseMs: 0}});
	const stormy = await run({
		timing: {...timing, leaseMs: 0},
		faults: [
			{kind: 'loss', rate: 0.2, fromMs: 0},
			{kind: 'duplication', rate: 0.2, fromMs: 0},
		],
	});
	t.is(stormy.summary.status, 'done');
	t.true(stormy.figures.messagesLost > 0);
	t.true(stormy.figures.virtualMs > calm.figures.virtualMs);
	const counts = ({rows}: Simulated) =>
		rows
			.filter(({kind}) => kind === 'step')
			.map(({client, round, step, loss}) => `${client} ${round} ${step} ${loss}`)
			.toSorted();
	t.deepEqual(counts(stormy), counts(calm));
	t.true(stormy.rows.every(row => row.kind !== 'step' || Number(row.serverStaleness) >= 0));
});

test('a partition shorter than a lease is only a delay', async t => {
	const result = await run({faults: [{kind: 'partition', clients: ['c1'], fromMs: 30, toMs: 1500}]});
	t.is(result.summary.status, 'done');
	t.is(result.summary.steps, 12);
	t.true(result.figures.virtualMs > 1500);
});

for (const [what, scenario, message] of [
	[
		'a fault on an unknown client',
		{faults: [{kind: 'dropout', client: 'c9', atMs: 1, isAnnounced: false}]},
		/`faults.0.client`.*no client `c9`.*c0 to c2/,
	],
	[
		'a misspelt key in a fault',
		{faults: [{kind: 'dropout', client: 'c1', atMS: 1}]},
		/`faults.0.atMS`.*did you mean `atMs`/,
	],
	['a negative rate', {faults: [{kind: 'loss', rate: -0.1}]}, /`faults.0.rate`.*>= 0.*-0.1/],
	[
		'a return before the crash',
		{faults: [{kind: 'crash', client: 'c1', atMs: 5, returnMs: 4}]},
		/`faults.0.returnMs`.*after atMs 5, got 4/,
	],
	['a device of an unknown client', {fleet: {clients: {c7: {latencyMs: 1}}}}, /`fleet.clients.c7`/],
	['an unknown profile', {fleet: {profile: 'fast'}}, /`fleet.profile`.*ideal, edge-lab/],
] as const) {
	test(`${what} is refused with path and fix`, t => {
		const file = {name: 'x', data: {kind: 'restaurants'}, ...scenario};
		t.throws(() => checkScenario(file), {message});
	});
}
