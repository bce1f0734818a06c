/**
A run spread by hand over a broker with users: its actors are started one by one, each with credentials, connections and a folder of
its own, from the same scenario.
*/
import {readdirSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import type {ExecutionContext} from 'ava';
import {startBroker} from '../../runtime/bus/broker.ts';
import {upRun} from '../../runtime/cli/up-run.ts';
import type {ActorKind} from '../../runtime/run/running-actor.ts';
import {findBroker} from '../../runtime/setup/find-broker.ts';
import {checkTrace} from '../../runtime/trace/invariants.ts';
import {callCutlayer} from '../_helpers/call-cutlayer.ts';
import {testWith} from '../_helpers/optional.ts';
import {inFolder, makeTinyModel, tinyScenario} from '../_helpers/tiny-model.ts';
import {withTrace} from '../_helpers/traces.ts';

const binary = findBroker()?.binary;

type Row = {kind: string; actor: string; round: number; step: number; loss: number};

const lossesOf = (run: string): Record<string, number> =>
	Object.fromEntries(
		readFileSync(path.join(run, 'metrics.jsonl'), 'utf8')
			.split('\n')
			.filter(Boolean)
			.map(line => JSON.parse(line) as Row)
			.filter(({kind}) => kind === 'step')
			.map(({actor, round, step, loss}) => [`${actor} ${round}.${step}`, loss]),
	);

const filesIn = (folder: string): string[] =>
	readdirSync(folder, {recursive: true, withFileTypes: true}).flatMap(entry =>
		entry.isFile() ? [path.join(entry.parentPath, entry.name)] : [],
	);

/** Who has no credentials, or another's, is told in one sentence. */
async function refusesStrangers(t: ExecutionContext, url: string, credsOf: (id: string) => string): Promise<void> {
	const nats = ['--nats', url];
	const client = ['attach', 'client', ...nats, '--run', 'hand', '--creds'];
	const cases: readonly [args: string[], says: RegExp][] = [
		[['runs', ...nats], /found AUTHORIZATION_VIOLATION; check the user, password or credentials file/],
		[[...client, credsOf('main')], /Expected credentials of a client, found those of main-server main; name another/],
		[
			[...client, credsOf('c0'), '--id', 'c1'],
			/Expected --id c0, whom the credentials are for, found c1; leave --id out/,
		],
		[
			['ctl', 'hand', 'pause', ...nats, '--creds', credsOf('c0')],
			/Expected credentials of a conductor, found those of client/,
		],
		[
			['ctl', 'hand', 'pause', ...nats, '--creds', credsOf('ctl')],
			/Expected run hand at .*, found none; start one there/,
		],
	];
	for (const [args, says] of cases) {
		const {code, stderr} = await callCutlayer(args);
		t.is(code, 2, `${args.join(' ')}\n${stderr}`);
		t.regex(stderr, says);
		t.is(stderr.trim().split('\n').length, 1, stderr);
	}
	t.deepEqual(await callCutlayer(['runs', ...nats, '--creds', credsOf('c1'), '--json']), {
		code: 0,
		stdout: '[]\n',
		stderr: '',
	});
}

const statusOf = (run: string) =>
	(JSON.parse(readFileSync(path.join(run, 'summary.json'), 'utf8')) as {status: string}).status;

testWith(binary)(
	'three actors that are started one by one finish a run with the losses of one process, in whatever order they start',
	async t => {
		t.timeout(240_000);
		await inFolder(async folder => {
			const keys = path.join(folder, 'broker');
			t.is((await callCutlayer(['broker', 'init', '--out', keys, '--clients', '2', '--json'])).code, 0);
			const config = readFileSync(path.join(keys, 'users.conf'), 'utf8');
			const broker = await startBroker({binary: binary!, config});
			t.teardown(() => broker.stop());
			const credsOf = (id: string) => path.join(keys, 'creds', `${id}.nk`);
			makeTinyModel(folder);
			const scenario = path.join(folder, 'tiny.json');
			writeFileSync(scenario, JSON.stringify(tinyScenario(folder, {clients: 1, evaluation: {everyRounds: 0}})));
			const out = (name: string) => path.join(folder, name);
			const whole = await callCutlayer(['run', scenario, '--backend', 'wasm', '--quiet', '--out', out('whole')]);
			t.is(whole.code, 0, whole.stderr);
			const up = (kind: ActorKind, id: string) =>
				upRun(kind, scenario, {
					...{run: 'hand', nats: broker.url, backend: 'wasm', id, out: out(id)},
					creds: credsOf(id),
					...{set: [], trace: 'digest', json: false, quiet: true},
				});
			await Promise.all([up('client', 'c0'), up('main-server', 'main'), up('fed-server', 'fed')]);
			t.is(process.exitCode, 0);
			await refusesStrangers(t, broker.url, credsOf);
			for (const id of ['c0', 'main', 'fed']) {
				const secret = /^SU.+$/m.exec(readFileSync(credsOf(id), 'utf8'))![0];
				for (const file of filesIn(out(id))) t.false(readFileSync(file).includes(secret), file);
			}
			process.exitCode = undefined;
			t.is(Object.keys(lossesOf(out('whole'))).length, 6);
			t.deepEqual(lossesOf(out('fed')), lossesOf(out('whole')));
			for (const name of ['c0', 'main', 'fed']) {
				t.is(statusOf(out(name)), 'done');
				const {violations} = await withTrace(out(name), checkTrace);
				t.deepEqual(violations, [], name);
			}
		});
	},
);
