/**
Actors that join a simulated run from outside, as its scenario says. Every run is replayed and its trace checked.
*/
import {readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import test from 'ava';
import {checkScenario} from '../../protocols/check-scenario.ts';
import type {ScenarioFile} from '../../protocols/scenario.ts';
import type {MetricsRow} from '../../runtime/run/recorder.ts';
import {callCutlayer} from '../_helpers/call-cutlayer.ts';
import {simScenario, simulate} from '../_helpers/simulate.ts';
import {inFolder, makeTinyModel, tinyScenario} from '../_helpers/tiny-model.ts';

const timing = {answerTimeoutMs: 1000, heartbeatMs: 500, leaseMs: 3000};
const base: Partial<ScenarioFile> = {
	timing,
	training: {steps: 12, stepsPerRound: 2},
	evaluation: {everyRounds: 0},
	data: {kind: 'restaurants', validationRows: 4},
};
const attach = [
	{kind: 'client', id: 'kim', atMs: 250, shard: 0},
	{kind: 'evaluator', id: 'judge', atMs: 400, everyRounds: 2},
] as const;

const cohorts = (rows: readonly MetricsRow[]) =>
	rows.flatMap(row => (row.kind === 'round' ? [Number(row.cohort)] : []));

test('a client and an evaluator join at their times, and what was before is as without them', async t => {
	const alone = await simulate(simScenario(base));
	const joined = await simulate(simScenario({...base, attach: [...attach]}));
	t.is(joined.summary.status, 'done');
	const sizes = cohorts(joined.rows);
	t.is(sizes[0], 3);
	t.is(sizes.at(-1), 4);
	const steps = joined.rows.filter(({kind, actor}) => kind === 'step' && actor === 'kim');
	t.true(steps.length > 0 && steps.every(({round, timeMs}) => sizes[Number(round)] === 4 && timeMs > 250));
	const evaluations = joined.rows.filter(({kind}) => kind === 'eval');
	t.true(evaluations.length > 0);
	for (const {actor, timeMs, adapterVersion} of evaluations) {
		t.is(actor, 'judge');
		t.true(timeMs >= 400 && Number(adapterVersion) > 0);
	}
	// The main server shows its adapter from the start, which no client waits for.
	const isBefore = ({timeMs, kind}: MetricsRow) => timeMs < 250 && kind === 'step';
	const losses = (rows: readonly MetricsRow[]) =>
		rows.filter(isBefore).map(({actor, round, step, loss}) => [actor, round, step, loss]);
	t.true(losses(alone.rows).length > 0);
	t.deepEqual(losses(joined.rows), losses(alone.rows));
	const again = await simulate(simScenario({...base, attach: [...attach]}));
	t.is(again.metrics, joined.metrics);
});

test('what happens to clients of the run may happen to one that joins, and one whose time never comes holds up nobody', async t => {
	const changes: Partial<ScenarioFile> = {
		attach: [attach[0], {kind: 'client', id: 'late', atMs: 1e9, shard: 1}],
		faults: [{kind: 'dropout', client: 'kim', atMs: 300, isAnnounced: false}],
	};
	const {summary, rows} = await simulate(simScenario({...base, ...changes}));
	t.is(summary.status, 'done');
	t.regex(summary.reason, /without kim: dropped out at 300 ms/);
	t.false(rows.some(({actor}) => actor === 'late'));
	t.is(cohorts(rows).at(-1), 3);
});

const wrong: readonly [attach: unknown, says: RegExp][] = [
	[[{...attach[0], id: 'c1'}], /attach\.0\.id.*`c1` is an actor of the run already; choose another id/],
	[[attach[0], attach[0]], /attach\.1\.id.*`kim` is an actor of the run already/],
	[[{...attach[0], data: 'x.csv'}], /attach\.0.*expected either `shard` or `data`/],
	[[{...attach[0], shard: 7}], /attach\.0\.shard.*expected 0 to 2, got 7/],
	[[{...attach[0], atMs: 0}], /atMs/],
	[[{...attach[0], kind: 'king'}], /attach/],
];

test('what cannot join is refused with its path and the fix', t => {
	for (const [events, says] of wrong) {
		const file = {...simScenario(base), attach: events} as unknown as ScenarioFile;
		t.throws(() => checkScenario(file), {message: says});
	}
	const file = {...simScenario({...base, data: {kind: 'restaurants', validationRows: 0}}), attach: [attach[1]]};
	t.throws(() => checkScenario(file as ScenarioFile), {message: /set data\.validationRows above 0/});
});

test('a client that joins trains on a file of its own, in virtual time only', async t => {
	await inFolder(async folder => {
		makeTinyModel(folder);
		const [scenario, own, out] = ['tiny.json', 'own.jsonl', 'out'].map(name => path.join(folder, name)) as [
			string,
			string,
			string,
		];
		writeFileSync(own, `${JSON.stringify({prompt: 'n: 1', completion: 'one place'})}\n`);
		const events = [{kind: 'client', id: 'kim', atMs: 1, data: own}] as const;
		const changes = {clients: 1, evaluation: {everyRounds: 0}, attach: [...events]};
		writeFileSync(scenario, JSON.stringify(tinyScenario(folder, changes)));
		const run = ['run', scenario, '--backend', 'cpu', '--quiet', '--out', out];
		const wall = await callCutlayer(run);
		t.is(wall.code, 2);
		t.regex(
			wall.stderr,
			/has 1 actors that attach, .*: add --clock virtual, or leave them out and use cutlayer attach/,
		);
		const {code, stderr} = await callCutlayer([...run, '--clock', 'virtual']);
		t.is(code, 0, stderr);
		const rows = readFileSync(path.join(out, 'metrics.jsonl'), 'utf8').trim().split('\n');
		const steps = rows
			.map(row => JSON.parse(row) as MetricsRow)
			.filter(({kind, actor}) => kind === 'step' && actor === 'kim');
		t.true(steps.length > 0 && steps.every(({tokens}) => tokens === steps[0]!.tokens));
	});
});
