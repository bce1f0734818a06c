import {readdirSync, readFileSync} from 'node:fs';
import {readFile, writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import test from 'ava';
import {compareLosses} from '../../runtime/cli/what-if-live.ts';
import type {MetricsRow} from '../../runtime/run/recorder.ts';
import {callCutlayer} from '../_helpers/call-cutlayer.ts';
import {tinyModelFolder} from '../_helpers/tiny-model-folder.ts';
import {withRunFolder} from '../_helpers/tiny-run.ts';

const rowsOf = (folder: string): MetricsRow[] =>
	readFileSync(join(folder, 'metrics.jsonl'), 'utf8')
		.split('\n')
		.filter(Boolean)
		.map(line => JSON.parse(line) as MetricsRow);

const stepsOf = (folder: string) => rowsOf(folder).filter(({kind}) => kind === 'step');

/** Three clients and four rounds of a step in real time; a checkpoint after each of the first three. */
async function liveRun(folder: string): Promise<string> {
	const scenario = join(folder, 'live.json');
	await writeFile(
		scenario,
		JSON.stringify({
			name: 'live',
			model: await tinyModelFolder(join(folder, 'model')),
			cut: 1,
			data: {kind: 'restaurants', batchSize: 1, validationRows: 2, tokensMax: 32, rows: 30},
			training: {steps: 4, stepsPerRound: 1, learningRate: 1e-2, schedule: {kind: 'constant'}},
			checkpoint: {everyRounds: 1, keep: 0},
		}),
	);
	const out = join(folder, 'live');
	const {code, stderr} = await callCutlayer(['run', scenario, '--bus', 'memory', '--quiet', '--out', out]);
	if (code !== 0) throw new Error(stderr);
	return out;
}

test('a run in real time goes on from its checkpoint: unchanged with the same losses, changed with what was asked for', t =>
	withRunFolder(async folder => {
		const run = await liveRun(folder);
		t.is(readdirSync(join(run, 'checkpoints')).length, 3);
		const same = join(folder, 'same');
		const asked = await callCutlayer(['replay', run, '--round', '2', '--out', same]);
		t.is(asked.code, 0, asked.stderr);
		t.regex(asked.stderr, /\n9 losses after the checkpoint are in the parent too; the largest relative difference is /);
		const {both, only, difference} = compareLosses(rowsOf(run), rowsOf(same));
		t.is(only, 0);
		t.is(both, compareLosses(rowsOf(run), rowsOf(run)).both);
		// Dropout, batches and moments go on; cohorts and passes one by one differ by rounding.
		t.true(difference < 1e-5, String(difference));
		t.is((await callCutlayer(['trace', 'check', same])).code, 0);
		const {whatIf} = JSON.parse(await readFile(join(same, 'config.json'), 'utf8')) as {
			whatIf: {parent: string; at: number};
		};
		t.is(whatIf.parent, run);

		const other = join(folder, 'other');
		const changes = ['--without', 'c2', '--set', 'wire.activations=i8', '--delay', 'upload/c0=5000'];
		const changed = await callCutlayer(['replay', run, '--round', '2', ...changes, '--out', other, '--quiet']);
		t.is(changed.code, 0, changed.stderr);
		t.deepEqual(stepsOf(other).slice(0, 6), stepsOf(run).slice(0, 6));
		t.deepEqual(
			stepsOf(other)
				.slice(6)
				.map(row => `${row.actor} ${row.round}`)
				.sort(),
			['c0 2', 'c0 3', 'c1 2', 'c1 3'],
		);
		t.is((await callCutlayer(['trace', 'check', other])).code, 0);
		const {stdout} = await callCutlayer(['trace', 'ls', other, '--verb', 'activations', '--json']);
		t.regex(stdout, /"activations":"i8\[/);
		const {seconds} = JSON.parse(await readFile(join(other, 'summary.json'), 'utf8')) as {seconds: number};
		t.true(seconds > 5 && seconds < 30, 'nobody waits for a lease to end');

		const early = await callCutlayer(['replay', run, '--at', '5', '--out', join(folder, 'early')]);
		t.is(early.code, 2);
		t.regex(
			early.stderr,
			/only from a checkpoint before record 5: its first is from record \d+; give --at \d+ or later/,
		);
	}));

test('losses are compared by who made them and when', t => {
	const row = (step: number, loss: number) =>
		({kind: 'step', actor: 'c0', round: 1, step, loss}) as unknown as MetricsRow;
	t.deepEqual(compareLosses([row(0, 2), row(1, 4)], [row(1, 4.4), row(2, 9)]), {
		both: 1,
		only: 2,
		difference: (4.4 - 4) / 4,
	});
	t.deepEqual(compareLosses([], []), {both: 0, only: 0, difference: 0});
});
