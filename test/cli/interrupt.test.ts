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
	'a run in processes, interrupted and resumed in either mode, gives the losses of one in a single process',
	async t => {
		t.timeout(slowMs);
		await withScenario(
			async (folder, scenario) => {
				const whole = path.join(folder, 'whole');
				const parts = path.join(folder, 'parts');
				const one = await runCutlayer(['run', scenario, ...wasm, '--out', whole, '--json']);
				t.is(one.code, 0, one.stderr);
				t.is(one.stderr, '');
				t.is((JSON.parse(one.stdout) as {status: string}).status, 'done');

				const interrupted = await interruptedRun(t, [scenario, '--out', parts, '--processes']);
				t.true(interrupted.stderr.includes(`cutlayer run --resume ${parts}`));
				t.is(readdirSync(path.join(parts, 'checkpoints')).length, 1);
				t.true(rowsOf(parts).length < rowsOf(whole).length);

				const resumed = await runCutlayer(['run', '--resume', parts, ...wasm]);
				t.is(resumed.code, 0, resumed.stderr);
				t.deepEqual(lossesOf(parts), lossesOf(whole));
			},
			{training: {steps: 12, stepsPerRound: 3, learningRate: 1e-2}},
		);
	},
);

test.serial(
	'a run in one process, interrupted and resumed in processes, gives the losses of an uninterrupted one',
	async t => {
		t.timeout(slowMs);
		await withScenario(
			async (folder, scenario) => {
				const whole = path.join(folder, 'whole');
				const parts = path.join(folder, 'parts');
				const uninterrupted = await runCutlayer(['run', scenario, ...wasm, '--out', whole]);
				t.is(uninterrupted.code, 0, uninterrupted.stderr);
				await interruptedRun(t, [scenario, '--out', parts]);
				const resumed = await runCutlayer(['run', '--resume', parts, ...wasm, '--processes']);
				t.is(resumed.code, 0, resumed.stderr);
				t.deepEqual(lossesOf(parts), lossesOf(whole));
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
	'a client whose process is killed is named, and the others finish; a killed server ends the run',
	async t => {
		t.timeout(slowMs);
		await withScenario(
			async (folder, scenario) => {
				const [lossy, headless] = [path.join(folder, 'lossy'), path.join(folder, 'headless')];
				const first = startCutlayer(['run', scenario, ...wasm, '--out', lossy, '--processes']);
				await first.said(/round \d/);
				process.kill(actorsOf(first.child.pid!).c1!, 'SIGKILL');
				const {code, stderr} = await first.ended;
				t.is(code, 0, stderr);
				t.regex(stderr, /c1: its process \d+ ended with SIGKILL/);
				t.regex(summaryOf(lossy).reason, /^all steps are done; without c1: its process/);

				const second = startCutlayer(['run', scenario, ...wasm, '--out', headless, '--processes']);
				await second.said(/round \d/);
				const actors = actorsOf(second.child.pid!);
				process.kill(actors.main!, 'SIGKILL');
				const failed = await second.ended;
				t.is(failed.code, 1, failed.stderr);
				t.regex(summaryOf(headless).reason, /^main: its process \d+ ended with SIGKILL$/);
				t.deepEqual(Object.values(actors).filter(isRunning), []);
			},
			{training: {steps: 30, stepsPerRound: 3, learningRate: 1e-2}},
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
