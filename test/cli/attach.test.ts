/**
Joining, watching and changing a run that is under way, from other processes over a real broker.
*/
import {readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import type {ExecutionContext} from 'ava';
import {type Broker, startBroker} from '../../runtime/bus/broker.ts';
import {findBroker} from '../../runtime/setup/find-broker.ts';
import {checkTrace} from '../../runtime/trace/invariants.ts';
import {callCutlayer} from '../_helpers/call-cutlayer.ts';
import type {Ended} from '../_helpers/cutlayer.ts';
import {actorsOf, type Started, startCutlayer} from '../_helpers/cutlayer.ts';
import {testWith} from '../_helpers/optional.ts';
import {inFolder, makeTinyModel, tinyScenario} from '../_helpers/tiny-model.ts';
import {recordsIn, withTrace} from '../_helpers/traces.ts';

const binary = findBroker()?.binary;
const wasm = ['--backend', 'wasm'];

type Row = {kind: string; actor: string; round: number; step: number; loss: number; adapterVersion: number};

const rowsOf = (run: string): Row[] =>
	readFileSync(path.join(run, 'metrics.jsonl'), 'utf8')
		.split('\n')
		.filter(Boolean)
		.map(line => JSON.parse(line) as Row);

const summaryOf = (run: string) =>
	JSON.parse(readFileSync(path.join(run, 'summary.json'), 'utf8')) as {status: string; reason: string};

type Stage = {
	readonly folder: string;
	readonly broker: Broker;
	/** The run that others attach to, until it is stopped. */
	readonly host: Started;
	readonly run: string;
	readonly out: (name: string) => string;
	readonly ctl: (...words: string[]) => Promise<Ended>;
	readonly attach: (role: string, name: string, ...more: string[]) => Started;
};

/** A run of two clients that goes on until its steps are done. */
async function onStage(t: ExecutionContext, steps: number, more: string[], play: (stage: Stage) => Promise<void>) {
	t.timeout(240_000);
	const broker = await startBroker({binary: binary!});
	t.teardown(() => broker.stop());
	await inFolder(async folder => {
		makeTinyModel(folder);
		writeFileSync(path.join(folder, 'rows.jsonl'), rows(5));
		const scenario = path.join(folder, 'tiny.json');
		const changes = {training: {steps, stepsPerRound: 2, learningRate: 1e-3}, evaluation: {everyRounds: 0}};
		writeFileSync(scenario, JSON.stringify(tinyScenario(folder, changes)));
		const out = (name: string) => path.join(folder, name);
		const host = startCutlayer(['run', scenario, ...wasm, '--nats', broker.url, '--out', out('run'), ...more]);
		t.teardown(() => host.child.kill('SIGKILL'));
		await host.said(/round 0/);
		const {run} = JSON.parse(readFileSync(path.join(out('run'), 'config.json'), 'utf8')) as {run: string};
		const nats = ['--nats', broker.url];
		const attach = (role: string, name: string, ...words: string[]) => {
			const computes = role === 'observer' ? [] : [...wasm, '--out', out(name)];
			const guest = startCutlayer(['attach', role, '--run', run, ...nats, ...computes, ...words]);
			t.teardown(() => guest.child.kill('SIGKILL'));
			return guest;
		};
		const ctl = (...words: string[]) => callCutlayer(['ctl', run, ...words, ...nats]);
		await play({folder, broker, host, run, out, ctl, attach});
	});
}

/** Resolves when the only run of the broker has this member. */
async function joined({url}: Broker, id: string): Promise<void> {
	for (;;) {
		const {stdout} = await callCutlayer(['runs', '--nats', url, '--json']);
		if ((JSON.parse(stdout) as {members: string[]}[])[0]!.members.includes(id)) return;
	}
}

const rows = (count: number) =>
	Array.from(
		{length: count},
		(_, row) => `${JSON.stringify({prompt: `n: ${row}`, completion: `place ${row}`})}\n`,
	).join('');

testWith(binary).serial(
	'clients, an evaluator and an observer join a running run, and a client leaves it again',
	async t => {
		await onStage(t, 100_000, [], async ({host, run, out, ctl, attach, broker}) => {
			t.regex(host.child.spawnargs.join(' '), /--nats/);
			const kim = attach('client', 'kim', '--id', 'kim', '--data', path.join(path.dirname(out('x')), 'rows.jsonl'));
			const judge = attach('evaluator', 'judge', '--id', 'judge');
			const watcher = attach('observer', 'watcher', '--json');
			await Promise.all([kim.said(/round \d|kim/), host.said(/kim \d/), judge.said(/validation loss/)]);

			const {stdout} = await callCutlayer(['runs', '--nats', broker.url, '--json']);
			const [listed] = JSON.parse(stdout) as {run: string; scenario: string; round: number; members: string[]}[];
			t.is(listed!.run, run);
			t.is(listed!.scenario, 'tiny');
			t.true(listed!.round >= 0);
			t.deepEqual(listed!.members.toSorted(), ['c0', 'c1', 'kim']);

			kim.child.kill('SIGINT');
			const left = await kim.ended;
			t.is(left.code, 130, left.stderr);
			t.is(summaryOf(out('kim')).reason, 'left the run');
			const own = rowsOf(out('kim')).filter(({kind}) => kind === 'step');
			t.true(own.length > 0 && own.every(({actor, round}) => actor === 'kim' && round > 0));
			const before = rowsOf(out('run')).length;
			while (rowsOf(out('run')).length < before + 10) await new Promise(resolve => setTimeout(resolve, 50));

			t.is((await ctl('drop', 'c1')).code, 0);
			await host.said(/c1: dropped by cutlayer ctl/);
			host.child.kill('SIGINT');
			t.is((await host.ended).code, 130);
			const [watched, judged] = await Promise.all([watcher.ended, judge.ended]);
			const gone = /is gone: /;
			for (const {code, stderr} of [watched, judged]) {
				t.is(code, 1, stderr);
				t.regex(stderr, gone);
			}
			const events = watched.stdout
				.trim()
				.split('\n')
				.map(line => JSON.parse(line) as {verb: string; id: string});
			t.true(events.some(({verb, id}) => verb === 'leave' && id === 'kim'));
			t.true(events.some(({verb}) => verb === 'activations'));
			const evaluations = rowsOf(out('judge'));
			t.true(evaluations.length > 0 && evaluations.every(({kind, loss}) => kind === 'eval' && loss > 0));
			for (const name of ['run', 'kim', 'judge']) {
				const {violations} = await withTrace(out(name), checkTrace);
				t.deepEqual(violations, [], name);
			}
		});
	},
);

testWith(binary).serial(
	'a run is paused, changed and resumed, and each change is an input of the actor concerned',
	async t => {
		await onStage(t, 16, [], async ({host, out, ctl}) => {
			t.regex((await ctl('pause')).stdout, /the run is held at the opening of the next round/);
			const again = await ctl('pause');
			t.is(again.code, 2);
			t.regex(again.stderr, /^cutlayer: The run is paused already: resume it first$/m);
			t.is((await ctl('policy', 'aggregation.kind=median')).code, 0);
			t.is((await ctl('slow', 'c1=1')).code, 0);
			t.is((await ctl('resume')).code, 0);
			for (const [words, says] of refusals) {
				const refused = await ctl(...words);
				t.is(refused.code, 2, words.join(' '));
				t.regex(refused.stderr, says);
				t.is(refused.stderr.trim().split('\n').length, 1, refused.stderr);
			}
			t.is((await ctl('kill', 'c1')).code, 0);
			const ended = await host.ended;
			t.is(ended.code, 0, ended.stderr);
			t.regex(summaryOf(out('run')).reason, /without c1: killed by cutlayer ctl/);
			const inputs = (await recordsIn(out('run'))).flatMap(record =>
				record.kind === 'input' && record.actor === 'fed' ? [(record.event as {type: string}).type] : [],
			);
			t.deepEqual(
				inputs.filter(type => type.startsWith('host.')),
				['host.pause', 'host.changed', 'host.resume'],
			);
			const {code, stdout} = await callCutlayer(['replay', out('run')]);
			t.is(code, 0, stdout);
		});
	},
);

const refusals: readonly [words: string[], says: RegExp][] = [
	[['dance'], /Expected pause, resume, drop, kill, slow or policy, found dance; see cutlayer ctl --help/],
	[['slow', 'c1'], /Expected ID=MS, found c1; for example slow c1=500/],
	[['slow', 'c9=5'], /No actor c9 is in the run: choose one of fed, main, c0, c1/],
	[['drop', 'c9'], /No client c9 is in the run: choose one of c0, c1/],
	[['wire', 'activations=bf16'], /found wire, which all agreed on at the door; start another run/],
	[
		['policy', 'cut=1'],
		/Expected a path in closing, aggregation, timing, checkpoint, found "cut=1"; start another run/,
	],
	[['policy', 'aggregation.kind=best'], /aggregation.*best/],
	[['resume'], /The run is not paused: pause it first/],
];

testWith(binary).serial('who may not attach is told in one sentence why, and what to do', async t => {
	await onStage(t, 100_000, [], async ({folder, broker, host, run}) => {
		writeFileSync(path.join(folder, 'empty.jsonl'), '');
		const nats = ['--nats', broker.url];
		const data = ['--data', path.join(folder, 'rows.jsonl')];
		const client = (...more: string[]) => ['attach', 'client', ...wasm, '--out', path.join(folder, 'no'), ...more];
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
			[client(...nats, ...data, '--creds', 'none.creds'), /Expected a .creds file at none.creds, found/],
		];
		for (const [args, says] of cases) {
			const {code, stderr} = await callCutlayer(args);
			t.is(code, 2, `${args.join(' ')}\n${stderr}`);
			t.regex(stderr, says);
			t.is(stderr.trim().split('\n').length, 1, stderr);
		}
		const other = await callCutlayer(['ctl', 'other', 'pause', ...nats]);
		t.is(other.code, 2);
		t.regex(other.stderr, new RegExp(`found ${run}; name one of these`));
		host.child.kill('SIGINT');
		await host.ended;
		const none = await callCutlayer(['attach', 'observer', ...nats]);
		t.is(none.code, 2);
		t.regex(none.stderr, /Expected a run at .*, found none; start one there with cutlayer run --nats/);
	});
});

testWith(binary).serial(
	'a client whose process is killed comes back with its id in a new life, and no step is applied twice',
	async t => {
		await onStage(t, 16, ['--processes'], async ({host, out, attach, ctl, broker}) => {
			// Held until it is back, so that it is in time.
			t.is((await ctl('pause')).code, 0);
			process.kill(actorsOf(host.child.pid!).c1!, 'SIGKILL');
			await host.said(/c1: its process \d+ ended with SIGKILL/);
			const back = attach('client', 'back', '--id', 'c1');
			await joined(broker, 'c1');
			t.is((await ctl('resume')).code, 0);
			const [ended, returned] = await Promise.all([host.ended, back.ended]);
			t.is(ended.code, 0, ended.stderr);
			t.is(returned.code, 0, returned.stderr);
			t.is(summaryOf(out('back')).status, 'done');
			const steps = rowsOf(out('run')).flatMap(({kind, actor, round, step}) =>
				kind === 'step' ? [`${actor} ${round}.${step}`] : [],
			);
			t.is(new Set(steps).size, steps.length);
			const own = rowsOf(out('back')).filter(({kind}) => kind === 'step');
			t.true(own.length > 0);
			for (const {actor, round, step} of own) t.true(steps.includes(`${actor} ${round}.${step}`));
			for (const name of ['run', 'back']) {
				const {violations} = await withTrace(out(name), checkTrace);
				t.deepEqual(violations, [], name);
			}
		});
	},
);
