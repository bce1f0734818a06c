/**
Joining, watching and changing a run that is under way. The run is a process over a real broker; a client that is killed is
another; the guests that live and leave, and the commands, are in this one.
*/
import {existsSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import type {ExecutionContext} from 'ava';
import {startBroker} from '../../runtime/bus/broker.ts';
import {attachRun} from '../../runtime/cli/attach-run.ts';
import type {AttachFlags} from '../../runtime/cli/guest-flags.ts';
import {findBroker} from '../../runtime/setup/find-broker.ts';
import {checkTrace} from '../../runtime/trace/invariants.ts';
import {callCutlayer} from '../_helpers/call-cutlayer.ts';
import {startCutlayer} from '../_helpers/cutlayer.ts';
import {testWith} from '../_helpers/optional.ts';
import {inFolder, makeTinyModel, tinyScenario} from '../_helpers/tiny-model.ts';
import {recordsIn, withTrace} from '../_helpers/traces.ts';

const binary = findBroker()?.binary;

type Row = {kind: string; actor: string; round: number; step: number; loss: number; bytesUp: number; tokens: number};
type Listed = {run: string; scenario: string; round: number; members: string[]};

const linesOf = (file: string): string[] => (existsSync(file) ? readFileSync(file, 'utf8').split('\n') : []);
const rowsOf = (run: string): Row[] =>
	linesOf(path.join(run, 'metrics.jsonl')).flatMap(line => (line.endsWith('}') ? [JSON.parse(line) as Row] : []));

const summaryOf = (run: string) =>
	JSON.parse(readFileSync(path.join(run, 'summary.json'), 'utf8')) as {status: string; reason: string};

/** Looks again until it holds; the test's own time limit ends what never does. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
	while (!(await holds())) await new Promise(resolve => setTimeout(resolve, 50));
}

/** A run of two clients that goes on until it is interrupted, and what a test does with it. */
async function openStage(t: ExecutionContext, folder: string) {
	const broker = await startBroker({binary: binary!});
	t.teardown(() => broker.stop());
	makeTinyModel(folder);
	const out = (name: string) => path.join(folder, name);
	writeFileSync(out('rows.jsonl'), rows(5));
	const changes = {
		training: {steps: 100_000, stepsPerRound: 2, learningRate: 1e-3},
		evaluation: {everyRounds: 0},
		timing: {heartbeatMs: 500, leaseMs: 6000},
	};
	writeFileSync(out('tiny.json'), JSON.stringify(tinyScenario(folder, changes)));
	const nats = ['--nats', broker.url];
	const start = (...words: string[]) => {
		const started = startCutlayer([...words, ...nats, '--backend', 'wasm']);
		t.teardown(() => started.child.kill('SIGKILL'));
		return started;
	};
	const host = start('run', out('tiny.json'), '--out', out('run'));
	await host.said(/round 0/);
	const {run} = JSON.parse(readFileSync(path.join(out('run'), 'config.json'), 'utf8')) as {run: string};
	const ctl = (...words: string[]) => callCutlayer(['ctl', run, ...words, ...nats]);
	const runs = async () =>
		(JSON.parse((await callCutlayer(['runs', ...nats, '--json'])).stdout) as Listed[])[0] as Listed;
	const common = {nats: broker.url, run, set: [], backend: 'wasm', trace: 'digest', json: false} as const;
	const join = (kind: 'client' | 'evaluator', id: string, folderName: string, more: Partial<AttachFlags> = {}) =>
		attachRun(kind, {...common, id, out: out(folderName), quiet: true, replace: false, ...more});
	return {host, run, out, ctl, runs, join, start, nats};
}

const rows = (count: number) =>
	Array.from(
		{length: count},
		(_, row) => `${JSON.stringify({prompt: `n: ${row}`, completion: `place ${row}`})}\n`,
	).join('');

testWith(binary)('a running run is joined, watched, changed and left, and refuses what does not fit it', async t => {
	t.timeout(300_000);
	await inFolder(async folder => {
		const {host, run, out, ctl, runs, join, start, nats} = await openStage(t, folder);
		// The run has time to think, and the machine for others.
		t.is((await ctl('slow', 'main=150')).code, 0);

		await refusesChanges(t, ctl);
		await refusesGuests(t, folder, nats, run);

		const kim = start(
			'attach',
			'client',
			'--run',
			run,
			'--id',
			'kim',
			'--data',
			out('rows.jsonl'),
			'--out',
			out('kim'),
		);
		await kim.said(/round \d/);
		const listed = await runs();
		t.is(listed.run, run);
		t.is(listed.scenario, 'tiny');
		t.true(listed.round >= 0);
		t.deepEqual(listed.members.toSorted(), ['c0', 'c1', 'kim']);
		kim.child.kill('SIGKILL');
		await kim.ended;
		await until(async () => !(await runs()).members.includes('kim'));

		const watcher = start('attach', 'observer', '--run', run, '--json');
		await watcher.said(/Observing run/);
		const guests = Promise.all([
			join('client', 'kim', 'back', {data: out('rows.jsonl')}),
			join('evaluator', 'judge', 'judge'),
		]);
		await until(() => rowsOf(out('back')).length > 3 && rowsOf(out('judge')).length > 0);

		t.is((await ctl('drop', 'c1')).code, 0);
		await host.said(/c1: dropped by cutlayer ctl/);
		// Ctrl-C in the terminal of the guests.
		process.emit('SIGINT');
		await guests;
		t.is(process.exitCode, 130);
		process.exitCode = undefined;
		t.is(summaryOf(out('back')).reason, 'left the run');
		const before = rowsOf(out('run')).length;
		await until(() => rowsOf(out('run')).length > before + 4);
		// The same tokens in half the bytes.
		const bytesUp = rowsOf(out('run')).flatMap(row => (row.kind === 'step' ? [row.bytesUp / row.tokens] : []));
		t.true(bytesUp.at(-1)! < 0.6 * bytesUp[0]!, `${bytesUp[0]} ${bytesUp.at(-1)}`);
		host.child.kill('SIGINT');
		t.is((await host.ended).code, 130);
		const {code, stdout, stderr} = await watcher.ended;
		t.is(code, 1, stderr);
		t.regex(stderr, /is gone: /);

		const events = stdout
			.split('\n')
			.filter(Boolean)
			.map(line => JSON.parse(line) as {verb: string; id: string});
		t.true(events.some(({verb, id}) => verb === 'leave' && id === 'kim'));
		t.true(events.some(({verb}) => verb === 'activations'));
		const evaluations = rowsOf(out('judge'));
		t.true(evaluations.every(({kind, loss}) => kind === 'eval' && loss > 0));
		const steps = stepsOf(out('run'));
		t.is(new Set(steps).size, steps.length);
		const own = stepsOf(out('back'));
		t.true(own.length > 0 && own.every(step => step.startsWith('kim') && steps.includes(step)));
		for (const name of ['run', 'back', 'judge']) {
			const {violations} = await withTrace(out(name), checkTrace);
			t.deepEqual(violations, [], name);
		}
		const told = (await recordsIn(out('run'))).flatMap(record =>
			record.kind === 'input' && record.actor === 'fed' ? [(record.event as {type: string}).type] : [],
		);
		t.deepEqual(
			told.filter(type => type.startsWith('host.')),
			['host.pause', 'host.changed', 'host.changed', 'host.resume', 'host.changed', 'host.pause'],
		);
		const replayed = await callCutlayer(['replay', out('run')]);
		t.is(replayed.code, 0, replayed.stdout);
		const none = await callCutlayer(['attach', 'observer', ...nats]);
		t.is(none.code, 2);
		t.regex(none.stderr, /Expected a run at .*, found none; start one there with cutlayer run --nats/);
	});
});

const stepsOf = (run: string) =>
	rowsOf(run).flatMap(({kind, actor, round, step}) => (kind === 'step' ? [`${actor} ${round}.${step}`] : []));

type Ctl = Awaited<ReturnType<typeof openStage>>['ctl'];

async function refusesChanges(t: ExecutionContext, ctl: Ctl): Promise<void> {
	t.regex((await ctl('pause')).stdout, /the run is held at the opening of the next round/);
	const again = await ctl('pause');
	t.is(again.code, 2);
	t.regex(again.stderr, /^cutlayer: The run is paused already: resume it first$/m);
	t.is((await ctl('policy', 'aggregation.kind=median')).code, 0);
	t.is((await ctl('slow', 'c1=1')).code, 0);
	t.regex((await ctl('wire', 'activations=bf16')).stdout, /wire.activations=bf16 holds from now on/);
	t.is((await ctl('resume')).code, 0);
	for (const [words, says] of changesRefused) {
		const refused = await ctl(...words);
		t.is(refused.code, 2, words.join(' '));
		t.regex(refused.stderr, says);
		t.is(refused.stderr.trim().split('\n').length, 1, refused.stderr);
	}
}

const changesRefused: readonly [words: string[], says: RegExp][] = [
	[['dance'], /Expected pause, resume, drop, kill, slow, policy or wire, found dance; see cutlayer ctl --help/],
	[['slow', 'c1'], /Expected ID=MS, found c1; for example slow c1=500/],
	[['slow', 'c9=5'], /No actor c9 is in the run: choose one of fed, main, c0, c1/],
	[['drop', 'c9'], /No client c9 is in the run: choose one of c0, c1/],
	[['wire', 'activations'], /Expected KIND=FORMAT, found activations; for example wire activations=bf16/],
	[['wire', 'labels=bf16'], /Expected activations, gradients, adapters with a format, found "labels=bf16"/],
	[['wire', 'activations=f8'], /wire.activations.*f8/],
	[
		['policy', 'cut=1'],
		/Expected a path in closing, aggregation, timing, checkpoint, found "cut=1"; start another run/,
	],
	[['policy', 'aggregation.kind=best'], /aggregation.*best/],
	[['resume'], /The run is not paused: pause it first/],
];

async function refusesGuests(t: ExecutionContext, folder: string, nats: string[], run: string): Promise<void> {
	writeFileSync(path.join(folder, 'empty.jsonl'), '');
	const data = ['--data', path.join(folder, 'rows.jsonl')];
	const client = (...more: string[]) => [
		'attach',
		'client',
		'--backend',
		'wasm',
		'--out',
		path.join(folder, 'no'),
		...more,
	];
	const cases: readonly [args: string[], says: RegExp][] = [
		[
			client('--nats', 'nats://127.0.0.1:1', ...data),
			/Expected a NATS broker at nats:\/\/127.0.0.1:1, found .*; start/,
		],
		[
			client('--run', 'other', ...nats, ...data),
			/Expected run other at .*, found tiny-.*; name one of these with --run/,
		],
		[client(...nats, '--id', 'c1'), /found c1, which is a member; choose another --id, or take its place with --rep/],
		[client(...nats, '--id', 'kim'), /Expected rows for kim, .* name a file with --data, or --shard 0 to 1/],
		[client(...nats, '--data', path.join(folder, 'empty.jsonl')), /empty\.jsonl/],
		[client(...nats, '--data', path.join(folder, 'none.jsonl')), /none\.jsonl/],
		[client(...nats, '--data', 'rows.xml'), /Expected a .csv, .jsonl or .txt file with rows, found rows.xml/],
		[client(...nats, ...data, '--rank', '8'), /expects rank 2, found 8 here; set rank to 2 or join another run/],
		[client(...nats, ...data, '--cut', '1'), /expects cut 2, found 1 here; set cut to 2 or join another run/],
		[client(...nats, ...data, '--set', 'wire.adapters=bf16'), /expects wire .*"adapters":"f32".*"adapters":"bf16"/],
		[client(...nats, ...data, '--creds', 'none.creds'), /Expected credentials at none.creds, found/],
		[
			client(...nats, ...data, '--creds', path.join(folder, 'rows.jsonl')),
			/Expected a user JWT or the seed of an nkey in/,
		],
		[['ctl', 'other', 'pause', ...nats], new RegExp(`found ${run}; name one of these`)],
	];
	for (const [args, says] of cases) {
		const {code, stderr} = await callCutlayer(args);
		t.is(code, 2, `${args.join(' ')}\n${stderr}`);
		t.regex(stderr, says);
		t.is(stderr.trim().split('\n').length, 1, stderr);
	}
}
