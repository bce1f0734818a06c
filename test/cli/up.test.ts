/**
A run spread over processes by hand: one actor each, over one broker, from the same scenario.
*/
import {readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {startBroker} from '../../runtime/bus/broker.ts';
import {findBroker} from '../../runtime/setup/find-broker.ts';
import {checkTrace} from '../../runtime/trace/invariants.ts';
import {runCutlayer, startCutlayer} from '../_helpers/cutlayer.ts';
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

testWith(binary)(
	'three processes by hand finish a run with the losses of one process, in whatever order they start',
	async t => {
		t.timeout(180_000);
		const broker = await startBroker({binary: binary!});
		t.teardown(() => broker.stop());
		await inFolder(async folder => {
			makeTinyModel(folder);
			const scenario = path.join(folder, 'tiny.json');
			writeFileSync(scenario, JSON.stringify(tinyScenario(folder, {clients: 1, evaluation: {everyRounds: 0}})));
			const out = (name: string) => path.join(folder, name);
			const up = (role: string, name: string, ...more: string[]) => {
				const args = ['up', role, scenario, '--run', 'hand', '--nats', broker.url, '--backend', 'wasm'];
				return startCutlayer([...args, '--out', out(name), ...more]);
			};
			const processes = [
				up('client', 'c0', '--id', 'c0'),
				up('main-server', 'main'),
				up('fed-server', 'fed', '--json'),
			];
			const whole = await runCutlayer(['run', scenario, '--backend', 'wasm', '--out', out('whole')]);
			t.is(whole.code, 0, whole.stderr);
			const ended = await Promise.all(processes.map(({ended}) => ended));
			for (const {code, stderr} of ended) t.is(code, 0, stderr);
			t.regex(ended[0]!.stderr, /Waiting for the servers of run hand/);
			t.is((JSON.parse(ended[2]!.stdout) as {status: string}).status, 'done');
			t.is(Object.keys(lossesOf(out('whole'))).length, 6);
			t.deepEqual(lossesOf(out('fed')), lossesOf(out('whole')));
			for (const name of ['c0', 'main', 'fed']) {
				const {violations} = await withTrace(out(name), checkTrace);
				t.deepEqual(violations, [], name);
			}
		});
	},
);
