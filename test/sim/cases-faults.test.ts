import test from 'ava';
import type {Fault} from '../../protocols/faults.ts';
import type {ScenarioFile} from '../../protocols/scenario.ts';
import {type Simulated, simScenario, simulate} from '../_helpers/simulate.ts';
import {recordsIn} from '../_helpers/traces.ts';

const timing = {answerTimeoutMs: 1000, heartbeatMs: 500, leaseMs: 3000};
const run = (scenario: Partial<ScenarioFile>, options = {}) => simulate(simScenario({timing, ...scenario}), options);
const roundsOf = ({rows}: Simulated) => rows.filter(({kind}) => kind === 'round');
const stepsOf = ({rows}: Simulated, client: string) => rows.filter(row => row.kind === 'step' && row.client === client);
const longer = {training: {steps: 12, stepsPerRound: 2}};
const counts = ({rows}: Simulated) =>
	rows
		.filter(({kind}) => kind === 'step')
		.map(({client, round, step}) => `${client} ${round} ${step}`)
		.toSorted();

test('case 2: a client that reconnects before the first aggregation gets version 0 and the round in progress', async t => {
	const crash = {kind: 'crash', client: 'c1', atMs: 60, returnMs: 90} as const;
	const result = await run(
		{faults: [crash]},
		{
			read: async (folder: string) => {
				const told = (await recordsIn(folder)).flatMap(record =>
					record.kind === 'input' && record.actor === 'c1' && record.t > 90 && record.event.type === 'round-opened'
						? [record.event.body as {round: number; adapterVersion: number}]
						: [],
				);
				t.is(told[0]!.round, 0);
				t.is(told[0]!.adapterVersion, 0);
			},
		},
	);
	t.is(result.summary.status, 'done');
	t.true(result.rows.every(row => Number(row.round ?? 0) >= 0 && Number(row.adapterVersion ?? 0) >= 0));
});

test('case 3: a client that comes back a third time is a newer life each time and gets work again', async t => {
	const flap = {
		kind: 'flap',
		client: 'c1',
		fromMs: 0,
		hereMs: 300,
		awayMs: 150,
		toMs: 1400,
		isAnnounced: false,
	} as const;
	const lives = new Set<number>();
	const result = await run(
		{training: {steps: 40, stepsPerRound: 2}, faults: [flap]},
		{
			read: async (folder: string) => {
				for (const record of await recordsIn(folder))
					if (record.kind === 'started' && record.actor === 'c1') lives.add(record.incarnation);
			},
		},
	);
	t.is(result.summary.status, 'done');
	t.deepEqual([...lives], [0, 1, 2, 3]);
	t.is(stepsOf(result, 'c1').at(-1)!.round, 19);
});

test('case 6: in an update of one batch at a time batches of any number of rows and tokens train', async t => {
	const result = await run({update: {kind: 'sequential'}}, {arithmetic: 'real'});
	t.is(result.summary.status, 'done');
	const tokens = new Set(result.rows.filter(({kind}) => kind === 'step').map(row => row.tokens));
	t.true(tokens.size > 4, [...tokens].join());
	t.true(result.rows.every(row => row.kind !== 'step' || Number.isFinite(Number(row.loss))));
});

test('case 8: a client with an empty shard joins and is in no cohort', async t => {
	const result = await run({faults: [{kind: 'empty-shard', client: 'c2'}]});
	t.is(result.summary.status, 'done');
	t.is(stepsOf(result, 'c2').length, 0);
	t.deepEqual(
		roundsOf(result).map(({cohort}) => cohort),
		[2, 2],
	);
});

for (const tensor of ['activations', 'adapter'] as const) {
	for (const format of ['f32', 'bf16', 'i8'] as const) {
		test(`case 9: a NaN in the ${tensor} of a client in ${format} is refused and counted, and the others go on`, async t => {
			const wire = {activations: format, adapters: format};
			const faults = [{kind: 'non-finite', client: 'c1', atMs: 0, tensor} as const];
			const result = await run({faults, wire}, {arithmetic: 'real'});
			t.is(result.summary.status, 'done');
			t.is(result.summary.dropped['not-finite'], 1);
			t.regex(result.summary.reason, /c1: (main|fed) refused .*NaN or infinity/);
			t.is(stepsOf(result, 'c0').length, 4);
			t.true(result.summary.evaluations.every(({loss}) => Number.isFinite(loss)));
		});
	}
}

test('case 11: the round names the client that fell silent, and its lease ends at the stated time', async t => {
	const result = await run(
		{faults: [{kind: 'dropout', client: 'c2', atMs: 100, isAnnounced: false}]},
		{
			read: async (folder: string) => {
				const left = (await recordsIn(folder)).find(
					record => record.kind === 'input' && record.actor === 'main' && record.event.type === 'roster-changed',
				);
				t.truthy(left);
				const {event, t: atMs} = left as {event: {body: {left: string[]; reason: string}}; t: number};
				t.deepEqual(event.body.left, ['c2']);
				t.regex(event.body.reason, /silent for 3000 ms/);
				t.true(atMs > 3000 && atMs < 100 + 4 * 1000 + 100, `${atMs}`);
			},
		},
	);
	t.true(roundsOf(result).some(({gone}) => gone === 'c2'));
});

test('case 15: a disk that gets full ends the trace with a record that says so, and training goes on', async t => {
	const notices: string[] = [];
	const result = await run(
		{...longer, faults: [{kind: 'disk-full', atMs: 200}]},
		{
			notices,
			read: async (folder: string) => {
				const last = (await recordsIn(folder)).at(-1)!;
				t.is(last.kind, 'end');
				t.is((last as {reason?: string}).reason, 'disk');
			},
		},
	);
	t.is(result.summary.status, 'done');
	t.is(result.summary.steps, 36);
	t.true(
		notices.some(text => /Cannot write the trace: ENOSPC.*free some space/.test(text)),
		notices.join('\n'),
	);
});

const disturbances: readonly (readonly [string, readonly Fault[]])[] = [
	['frames that overtake each other', [{kind: 'reordering', rate: 0.3, delayMs: 200, fromMs: 0}]],
	['damaged frames', [{kind: 'corruption', rate: 0.1, fromMs: 0}]],
	['a clogged link', [{kind: 'clog', clients: ['c1'], fromMs: 60, toMs: 1500}]],
	['a restart of the broker', [{kind: 'broker-restart', atMs: 70, awayMs: 700}]],
];

for (const [what, faults] of disturbances) {
	test(`${what} cost time and no step`, async t => {
		const calm = await run({...longer, timing: {...timing, leaseMs: 0}});
		const odd = await run({...longer, faults: [...faults], timing: {...timing, leaseMs: 0}});
		t.is(odd.summary.status, 'done');
		t.true(odd.figures.virtualMs > calm.figures.virtualMs);
		t.deepEqual(counts(odd), counts(calm));
	});
}

test('flaky clients drop out of rounds and come back; nobody counts twice', async t => {
	const faults = [{kind: 'flaky', rate: 0.3, awayMs: 200, isAnnounced: true, fromMs: 0} as const];
	const result = await run({training: {steps: 40, stepsPerRound: 2}, clients: 4, faults});
	t.is(result.summary.status, 'done');
	t.true(roundsOf(result).some(({gone}) => gone !== ''));
	t.is(new Set(counts(result)).size, counts(result).length);
});

test('the cohorts of a diurnal fleet fall from midnight to noon', async t => {
	const fleet = {profile: 'diurnal', dayMs: 6000} as const;
	const result = await run({clients: 20, training: {steps: 200, stepsPerRound: 1}, fleet, stop: {timeMs: 3500}});
	t.is(result.summary.status, 'done');
	const mean = (fromMs: number, toMs: number) => {
		const rounds = roundsOf(result).filter(({timeMs}) => timeMs >= fromMs && timeMs < toMs);
		return rounds.reduce((sum, {cohort}) => sum + Number(cohort), 0) / rounds.length;
	};
	t.true(mean(0, 750) > 2 * mean(2500, 3500), `${mean(0, 750)} ${mean(2500, 3500)}`);
});

test('a timeline slows a client and takes it away', async t => {
	const timelines = {
		c0: [
			{atMs: 0, speed: 1},
			{atMs: 300, speed: 0},
			{atMs: 900, speed: 1},
		],
	};
	const result = await run({training: {steps: 40, stepsPerRound: 2}, fleet: {timelines}});
	t.is(result.summary.status, 'done');
	t.false(stepsOf(result, 'c0').some(({timeMs}) => timeMs > 340 && timeMs < 900));
	t.true(stepsOf(result, 'c0').some(({timeMs}) => timeMs > 900));
});
