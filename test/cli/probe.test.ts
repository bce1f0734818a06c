/**
A probe of a run at a broker with users: refused without the permission, and with it what it measures is in the run's metrics.
*/
import {existsSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import type {ExecutionContext} from 'ava';
import {startBroker} from '../../runtime/bus/broker.ts';
import {newUser, usersConfig} from '../../runtime/bus/broker-config.ts';
import {findBroker} from '../../runtime/setup/find-broker.ts';
import {callCutlayer} from '../_helpers/call-cutlayer.ts';
import {startCutlayer} from '../_helpers/cutlayer.ts';
import {testWith} from '../_helpers/optional.ts';
import {inFolder, makeTinyModel, tinyScenario} from '../_helpers/tiny-model.ts';

const binary = findBroker()?.binary;

type Row = Record<string, string | number>;

const probeRows = (file: string): Row[] =>
	(existsSync(file) ? readFileSync(file, 'utf8').split('\n') : [])
		.filter(line => line.includes('"probe"') && line.endsWith('}'))
		.map(line => JSON.parse(line) as Row);

/** A broker that knows these users, and a file of credentials for each. */
async function brokerOf(t: ExecutionContext, folder: string) {
	const actors = [
		{role: 'run', id: 'run'},
		{role: 'probe', id: 'spy'},
		{role: 'observer', id: 'watcher'},
	] as const;
	const made = actors.map(newUser);
	const broker = await startBroker({binary: binary!, config: usersConfig(made.map(({user}) => user))});
	t.teardown(() => broker.stop());
	const files = made.map(({secret}, index) => {
		const file = path.join(folder, `${actors[index]!.id}.nk`);
		writeFileSync(file, secret);
		return file;
	});
	const bare = path.join(folder, 'bare.nk');
	// A key that does not say whom it is for: the broker alone can tell.
	writeFileSync(bare, made[2]!.secret.replace(/^#.*$/gm, ''));
	return {url: broker.url, run: files[0]!, spy: files[1]!, watcher: files[2]!, bare};
}

testWith(binary)('a probe needs the permission to hear activations, and names every token at cut 0', async t => {
	t.timeout(120_000);
	await inFolder(async folder => {
		const at = await brokerOf(t, folder);
		makeTinyModel(folder);
		const training = {steps: 100_000, stepsPerRound: 2, learningRate: 1e-3};
		const file = path.join(folder, 'tiny.json');
		writeFileSync(file, JSON.stringify(tinyScenario(folder, {cut: [0, 2], training, evaluation: {everyRounds: 0}})));
		const out = path.join(folder, 'run');
		const host = startCutlayer(['run', file, '--out', out, '--nats', at.url, '--creds', at.run, '--backend', 'wasm']);
		t.teardown(() => host.child.kill('SIGKILL'));
		await host.said(/round 0/);
		const probe = ['attach', 'probe', '--nats', at.url, '--backend', 'wasm', '--through-head', '--creds'];
		for (const [more, says] of [
			[
				[at.watcher],
				/^cutlayer: Expected the permission to hear activations, found credentials of observer watcher in .*watcher\.nk; ask for those of a probe/,
			],
			[
				[at.bare, '--id', 'watcher'],
				/^cutlayer: Expected the permission to hear activations, found a broker that refuses it; name credentials of a probe/,
			],
		] as const) {
			const refused = await callCutlayer([...probe, ...more]);
			t.is(refused.code, 2, refused.stderr);
			t.regex(refused.stderr, says);
			t.is(refused.stderr.trim().split('\n').length, 1, refused.stderr);
		}
		const metrics = path.join(out, 'metrics.jsonl');
		t.is(probeRows(metrics).length, 0);
		const probing = callCutlayer([...probe, at.spy]);
		while (probeRows(metrics).length < 4) await new Promise(resolve => setTimeout(resolve, 50));
		process.emit('SIGINT');
		const {code, stdout, stderr} = await probing;
		t.is(code, 130, stderr);
		t.regex(
			stdout,
			/^cut +tokens +by angle +by distance +through the head\n +0 +\d+ +100\.0 % +100\.0 % +-\n +2 +\d+ +\d+\.\d % +\d+\.\d % +\d+\.\d %\n$/,
		);
		const rows = probeRows(metrics);
		t.deepEqual([...new Set(rows.map(({client, cut}) => `${client} ${cut}`))].toSorted(), ['c0 0', 'c1 2']);
		for (const {actor, cut, step, tokens, recoveredCosine, recoveredEuclidean} of rows) {
			t.is(actor, 'spy');
			t.is(step, 0);
			t.true(Number(tokens) > 10);
			if (cut === 0) t.deepEqual([recoveredCosine, recoveredEuclidean], [1, 1]);
			else t.true(Number(recoveredCosine) < 1);
		}
		host.child.kill('SIGINT');
		t.is((await host.ended).code, 130);
		const summary = JSON.parse(readFileSync(path.join(out, 'summary.json'), 'utf8')) as {recovered: Row[]};
		t.is(summary.recovered[0]!.cosine, 1);
	});
});
