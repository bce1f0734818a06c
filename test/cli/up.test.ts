/**
A run spread by hand: its actors are started one by one, each with a connection and a folder of its own, from the same scenario.
*/
import {readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
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

const statusOf = (run: string) =>
	(JSON.parse(readFileSync(path.join(run, 'summary.json'), 'utf8')) as {status: string}).status;

testWith(binary)(
	'three actors that are started one by one finish a run with the losses of one process, in whatever order they start',
	async t => {
		t.timeout(240_000);
		const broker = await startBroker({binary: binary!});
		t.teardown(() => broker.stop());
		await inFolder(async folder => {
			makeTinyModel(folder);
			const scenario = path.join(folder, 'tiny.json');
			writeFileSync(scenario, JSON.stringify(tinyScenario(folder, {clients: 1, evaluation: {everyRounds: 0}})));
			const out = (name: string) => path.join(folder, name);
			const whole = await callCutlayer(['run', scenario, '--backend', 'wasm', '--quiet', '--out', out('whole')]);
			t.is(whole.code, 0, whole.stderr);
			const up = (kind: ActorKind, id: string) =>
				upRun(kind, scenario, {
					...{run: 'hand', nats: broker.url, backend: 'wasm', id, out: out(id)},
					...{set: [], trace: 'digest', json: false, quiet: true},
				});
			await Promise.all([up('client', 'c0'), up('main-server', 'main'), up('fed-server', 'fed')]);
			t.is(process.exitCode, 0);
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
