/**
`cutlayer run` from outside: interrupted, resumed, with all actors in one process or each in its own, with processes that die.
*/
import {readdirSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import test, {type ExecutionContext} from 'ava';
import type {ScenarioFile} from '../../protocols/scenario.ts';
import {actorsOf, isRunning, processesWith, runCutlayer, startCutlayer} from '../_helpers/cutlayer.ts';
import {inFolder, makeTinyModel, tinyScenario} from '../_helpers/tiny-model.ts';

type Row = {kind: string; actor: string; round: number; step: number; loss: number; adapterVersion: number};

const rowsOf = (run: string): Row[] =>
	readFileSync(path.join(run, 'metrics.jsonl'), 'utf8')
		.split('\n')
		.filter(Boolean)
		.map(line => JSON.parse(line) as Row);

/** Losses by who, round and step, and the validation losses by version. */
const lossesOf = (run: string): Record<string, number> =>
	Object.fromEntries(
		rowsOf(run)
			.filter(({kind}) => kind !== 'round')
			.map(({actor, round, step, adapterVersion, loss}) => [
				actor === 'evaluator' ? `version ${adapterVersion}` : `${actor} ${round}.${step}`,
				loss,
			]),
	);

const withScenario = (use: (folder: string, scenario: string) => Promise<void>, changes: Partial<ScenarioFile> = {}) =>
	inFolder(async folder => {
		makeTinyModel(folder);
		const scenario = path.join(folder, 'tiny.json');
		writeFileSync(scenario, JSON.stringify(tinyScenario(folder, changes)));
		await use(folder, scenario);
	});

/** Each case starts up to three runs, and those with processes six programs at once. */
const slowMs = 600_000;
const wasm = ['--backend', 'wasm'];
const summaryOf = (run: string) => JSON.parse(readFileSync(path.join(run, 'summary.json'), 'utf8')) as {reason: string};

/** A run that got Ctrl-C after its first round and left a checkpoint. */
async function interruptedRun(t: ExecutionContext, args: readonly string[]) {
	const started = startCutlayer(['run', ...args, ...wasm]);
	await started.said(/round \d/);
	started.child.kill('SIGINT');
	const interrupted = await started.ended;
	t.is(interrupted.code, 130, interrupted.stderr);
	return interrupted;
}

test.serial(
	'a run interrupted and resumed, in processes or in one, gives the losses of an uninterrupted one',
	async t => {
		t.timeout(slowMs);
		await withScenario(
			async (folder, scenario) => {
				const whole = path.join(folder, 'whole');
				const one = await runCutlayer(['run', scenario, ...wasm, '--out', whole, '--json']);
				t.is(one.code, 0, one.stderr);
				t.is(one.stderr, '');
				t.is((JSON.parse(one.stdout) as {status: string}).status, 'done');

				const many = path.join(folder, 'many');
				const interrupted = await interruptedRun(t, [scenario, '--out', many, '--processes']);
				t.true(interrupted.stderr.includes(`cutlayer run --resume ${many}`));
				t.is(readdirSync(path.join(many, 'checkpoints')).length, 1);
				t.true(rowsOf(many).length < rowsOf(whole).length);
				const resumed = await runCutlayer(['run', '--resume', many, ...wasm]);
				t.is(resumed.code, 0, resumed.stderr);
				t.deepEqual(lossesOf(many), lossesOf(whole));

				const single = path.join(folder, 'single');
				await interruptedRun(t, [scenario, '--out', single]);
				const spread = await runCutlayer(['run', '--resume', single, ...wasm, '--processes']);
				t.is(spread.code, 0, spread.stderr);
				t.deepEqual(lossesOf(single), lossesOf(whole));
			},
			{training: {steps: 12, stepsPerRound: 3, learningRate: 1e-2}},
		);
	},
);

test.serial('a second Ctrl-C stops at once', async t => {
	t.timeout(slowMs);
	await withScenario(async (folder, scenario) => {
		const started = startCutlayer(['run', scenario, ...wasm, '--out', path.join(folder, 'run'), '--steps', '100000']);
		await started.said(/round \d/);
		started.child.kill('SIGINT');
		started.child.kill('SIGINT');
		started.child.kill('SIGTERM');
		t.is((await started.ended).code, 130);
	});
});

test.serial(
	'a client whose process is killed is named, and the others go on; a killed server ends the run',
	async t => {
		t.timeout(slowMs);
		await withScenario(
			async (folder, scenario) => {
				const out = path.join(folder, 'run');
				const started = startCutlayer(['run', scenario, ...wasm, '--out', out, '--processes']);
				await started.said(/round \d/);
				const actors = actorsOf(started.child.pid!);
				process.kill(actors.c1!, 'SIGKILL');
				await started.said(/c1: its process \d+ ended with SIGKILL.*round \d.*round \d/s);
				process.kill(actors.main!, 'SIGKILL');
				const failed = await started.ended;
				t.is(failed.code, 1, failed.stderr);
				t.regex(summaryOf(out).reason, /^main: its process \d+ ended with SIGKILL$/);
				t.deepEqual(Object.values(actors).filter(isRunning), []);
			},
			{training: {steps: 100_000, stepsPerRound: 3, learningRate: 1e-2}},
		);
	},
);

test.serial('no process is left when the run itself is killed', async t => {
	t.timeout(slowMs);
	await withScenario(
		async (folder, scenario) => {
			const started = startCutlayer(['run', scenario, ...wasm, '--out', path.join(folder, 'run'), '--processes']);
			await started.said(/round \d/);
			const actors = Object.values(actorsOf(started.child.pid!));
			t.is(actors.length, 5);
			for (const pid of actors) t.notRegex(readFileSync(`/proc/${pid}/cmdline`, 'utf8'), /nats:|127\.0\.0\.1/);
			started.child.kill('SIGKILL');
			// Its pipes close only when its children, who hold them too, are gone.
			t.is((await started.ended).code, null);
			t.deepEqual(actors.filter(isRunning), []);
			t.deepEqual(processesWith(folder), []);
		},
		{training: {steps: 100_000, stepsPerRound: 3, learningRate: 1e-2}},
	);
});
