/**
A run of a tiny model by the command line: its one object on stdout, the same run again from its `config.json`, and exit codes
as the shell sees them.
*/
import {execFileSync} from 'node:child_process';
import {existsSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import path from 'node:path';
import test from 'ava';
import {f32View} from '../../protocols/tensor.ts';
import {readSafetensors, writeSafetensors} from '../../runtime/weights/safetensors.ts';
import {callCutlayer} from '../_helpers/call-cutlayer.ts';
import {runCutlayer} from '../_helpers/cutlayer.ts';
import {goldenModel, inFolder, makeTinyModel, tinyScenario} from '../_helpers/tiny-model.ts';

const flags = ['--backend', 'wasm', '--bus', 'memory'];
const slowMs = 600_000;

/** A folder with a model, a scenario of few steps and the path of its file. */
const withTiny = (use: (folder: string, scenario: string) => Promise<void>) =>
	inFolder(async folder => {
		makeTinyModel(folder);
		const scenario = path.join(folder, 'tiny.json');
		const training = {steps: 2, stepsPerRound: 1, learningRate: 1e-2};
		writeFileSync(scenario, JSON.stringify(tinyScenario(folder, {training})));
		await use(folder, scenario);
	});

type Row = {kind: string; actor: string; round: number; step: number; loss?: number; adapterVersion?: number};

/** Losses of a run folder by who and when. */
const lossesOf = (run: string): Record<string, number> => {
	const lines = readFileSync(path.join(run, 'metrics.jsonl'), 'utf8').split('\n').filter(Boolean);
	const rows = lines.map(line => JSON.parse(line) as Row).filter(row => row.loss !== undefined);
	return Object.fromEntries(
		rows.map(row => [[row.kind, row.actor, row.round, row.step, row.adapterVersion].join(' '), row.loss!]),
	);
};

test.serial('--json prints one object alone, and config.json runs again with the same losses', async t => {
	t.timeout(slowMs);
	await withTiny(async (folder, scenario) => {
		const [first, second] = [path.join(folder, 'first'), path.join(folder, 'second')];
		const one = await callCutlayer(['run', scenario, ...flags, '--out', first, '--set', 'lora.rank=3', '--json']);
		t.is(one.code, 0, one.stderr);
		t.is(one.stderr, '');
		t.is(one.stdout.indexOf('\n'), one.stdout.length - 1);
		const result = JSON.parse(one.stdout) as {folder: string; status: string; steps: number};
		t.like(result, {folder: first, status: 'done', steps: 4});

		// What was resolved is what runs again: the scenario's own file is gone.
		rmSync(scenario);
		const again = await callCutlayer(['run', path.join(first, 'config.json'), ...flags, '--out', second, '--quiet']);
		t.is(again.code, 0, again.stderr);
		t.is(again.stdout, '');
		t.is(again.stderr, '');
		const losses = lossesOf(first);
		t.is(Object.values(losses).filter(Number.isFinite).length, Object.keys(losses).length);
		t.true(Object.keys(losses).length >= 4);
		t.deepEqual(lossesOf(second), losses);
	});
});

test.serial('a run whose clients all give up exits with 1, says why and keeps what it knows', async t => {
	t.timeout(slowMs);
	await withTiny(async (folder, scenario) => {
		const weights = path.join(folder, 'model.safetensors');
		const {tensors} = await readSafetensors(path.join(goldenModel, 'model.safetensors'));
		// Finite weights whose activations are not.
		f32View(tensors['model.layers.1.mlp.down_proj.weight']!).fill(3e38);
		rmSync(weights);
		await writeSafetensors(weights, tensors);
		const out = path.join(folder, 'run');
		const {code, stdout, stderr} = await runCutlayer(['run', scenario, ...flags, '--out', out]);
		t.is(code, 1, stderr);
		t.is(stdout, '');
		t.regex(stderr, /^failed {5}every client gave up: c0: .*; c1: /m);
		const summary = JSON.parse(readFileSync(path.join(out, 'summary.json'), 'utf8')) as {status: string};
		t.is(summary.status, 'failed');
	});
});

test.serial('a full disk at the start ends a run with a sentence, and nothing is left', async t => {
	t.timeout(slowMs);
	const disk = await mkdtemp(path.join(tmpdir(), 'cutlayer-full-'));
	t.teardown(() => rm(disk, {recursive: true, force: true}));
	try {
		execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk], {stdio: 'ignore'});
	} catch {
		t.log('no disk can be mounted here');
		return t.pass();
	}
	t.teardown(() => execFileSync('umount', [disk]));
	t.throws(() => writeFileSync(path.join(disk, 'filler'), Buffer.alloc(1 << 20)), {code: 'ENOSPC'});
	await withTiny(async (_, scenario) => {
		const out = path.join(disk, 'run');
		const {code, stderr} = await callCutlayer(['run', scenario, ...flags, '--out', out, '--quiet']);
		t.is(code, 1, stderr);
		t.regex(stderr, /^cutlayer: Cannot write \S+config\.json: ENOSPC.*; free some space or give another --out\n$/);
		t.false(existsSync(out));
	});
});

test.serial('wrong use ends the process with 2 and a sentence alone', async t => {
	t.timeout(slowMs);
	await withTiny(async (folder, scenario) => {
		const out = path.join(folder, 'run');
		const {code, stdout, stderr} = await runCutlayer(['run', scenario, ...flags, '--out', out, '--set', 'cut=99']);
		t.is(code, 2);
		t.is(stdout, '');
		t.regex(stderr, /^cutlayer: `cut` in .*got 99; lower the cut\n$/);
		t.false(existsSync(out));
	});
});
