import {existsSync, readFileSync} from 'node:fs';
import {cp, mkdtemp, readFile, rm, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {callCutlayer} from '../_helpers/call-cutlayer.ts';
import {startCutlayer} from '../_helpers/cutlayer.ts';
import {tinyModelFolder} from '../_helpers/tiny-model-folder.ts';
import {withRunFolder} from '../_helpers/tiny-run.ts';

const base = await mkdtemp(join(tmpdir(), 'cutlayer-what-if-'));
let planted = '';
test.before(async () => {
	planted = await plantedRun(base);
});
test.after.always(() => rm(base, {recursive: true, force: true}));

type Blamed = {client: string; loss: number; moved: number};

/** A run of three clients of which c1 uploads fifty times its adapter from round 2 on. */
async function plantedRun(folder: string): Promise<string> {
	const scenario = join(folder, 'planted.json');
	await writeFile(
		scenario,
		JSON.stringify({
			name: 'planted',
			model: await tinyModelFolder(join(folder, 'model')),
			cut: 1,
			lora: {dropout: 0},
			data: {kind: 'restaurants', batchSize: 1, validationRows: 2, tokensMax: 32, rows: 30},
			training: {steps: 4, stepsPerRound: 1, learningRate: 1e-2, schedule: {kind: 'constant'}},
			faults: [{kind: 'scale-adapter', client: 'c1', factor: 50, fromRound: 2}],
		}),
	);
	const out = join(folder, 'planted');
	const {code, stderr} = await callCutlayer(['run', scenario, '--clock', 'virtual', '--quiet', '--out', out]);
	if (code !== 0) throw new Error(stderr);
	return out;
}

const traceOf = (folder: string) => readFileSync(join(folder, 'trace', 'run.trace'));

test.serial(
	'a planted fault is named by check, found by blame, gone without its client, and the curves part there',
	t =>
		withRunFolder(async folder => {
			const run = await plantedRun(folder);
			const checked = await callCutlayer(['trace', 'check', run]);
			t.is(checked.code, 0);
			t.regex(checked.stdout, /look at record \d+: c1 uploads an adapter of norm \S+ in round 2, the median there is/);
			const listed = await callCutlayer(['trace', 'ls', run, '--actor', 'c1', '--verb', 'upload']);
			t.regex(listed.stdout, /-> upload to fed \|w\| \d/);

			const {stdout} = await callCutlayer([
				'trace',
				'blame',
				run,
				'--loss',
				'--round',
				'2',
				'--client',
				'c0',
				'--client',
				'c1',
				'--json',
			]);
			const {loss, blamed, from} = JSON.parse(stdout) as {loss: number; blamed: Blamed[]; from: number};
			t.is(blamed[0]!.client, 'c1');
			t.true(blamed[0]!.moved > 5 * Math.abs(blamed[1]!.moved), stdout);
			t.is(blamed.length, 2);

			const out = join(folder, 'without');
			const replayed = await callCutlayer(['replay', run, '--round', '2', '--without', 'c1', '--out', out, '--quiet']);
			t.is(replayed.code, 0, replayed.stderr);
			const config = JSON.parse(await readFile(join(out, 'config.json'), 'utf8'));
			t.is(config.whatIf.parent, run);
			t.is(config.whatIf.at, from);
			t.deepEqual(config.whatIf.changes, [{kind: 'without', client: 'c1'}]);
			t.deepEqual(traceOf(out).subarray(400, 4000), traceOf(run).subarray(400, 4000));

			const compared = await callCutlayer(['compare', run, out, '--out', join(folder, 'compared'), '--json']);
			const {runs} = JSON.parse(compared.stdout) as {
				runs: {name: string; points: {loss: number}[]; parts: {record: number; seconds: number} | null}[];
			};
			t.deepEqual(
				runs.map(({name}) => name),
				['planted', 'planted without c1'],
			);
			t.is(runs[1]!.parts!.record, from);
			t.is(runs[0]!.points.at(-1)!.loss, loss);
			t.deepEqual(
				runs[1]!.points.slice(0, 3),
				runs[0]!.points.slice(0, 3).map(point => ({...point, name: 'planted without c1'})),
			);
			t.true(runs[1]!.points.at(-1)!.loss < loss);

			const again = await callCutlayer(['replay', out, '--at', '20', '--without', 'c2']);
			t.is(again.code, 2);
			t.regex(again.stderr, /is itself a what-if of .*planted: ask that run/);
		}),
);

test.serial('what a what-if cannot be is said with path, value and what is allowed', t =>
	withRunFolder(async folder => {
		const run = join(folder, 'run');
		await cp(planted, run, {recursive: true});
		const ask = async (expected: RegExp, ...flags: string[]) => {
			const {code, stderr} = await callCutlayer(['replay', run, '--quiet', ...flags]);
			t.is(code, 2, flags.join(' '));
			t.regex(stderr, expected);
			t.notRegex(stderr, /\n {4}at /);
		};
		const file = async (content: unknown) => {
			const path = join(folder, 'what-if.json');
			await writeFile(path, JSON.stringify(content));
			return path;
		};
		await ask(/`at` in .*what-if\.json: expected an integer >= 2.*, got 1/, '--what-if', await file({at: 1}));
		await ask(/expected the key `at`/, '--without', 'c1');
		await ask(/`chnages` in .*: unknown key; did you mean `changes`/, '--what-if', await file({at: 9, chnages: []}));
		await ask(
			/`changes\.0` in .*: expected kind one of drop, delay, without, set/,
			'--what-if',
			await file({at: 9, changes: [{kind: 'stop'}]}),
		);
		await ask(/`changes\.0\.client` in the what-if: expected c0 to c2, got c7/, '--at', '9', '--without', 'c7');
		await ask(
			/expected a path that can change while a run is under way.*got lora\.rank/,
			'--at',
			'9',
			'--set',
			'lora.rank=8',
		);
		await ask(
			/`aggregation` in the what-if: expected kind one of fedavg/,
			'--at',
			'9',
			'--set',
			'aggregation.kind=best',
		);
		await ask(/There is no record 99999/, '--at', '99999');
		await ask(/Round 9 was never opened/, '--round', '9');
		await ask(/Cannot read the what-if \/no\/such\.json/, '--what-if', '/no/such.json');
		await ask(/already holds a run/, '--at', '9', '--out', run);
		const {stderr} = await callCutlayer(['trace', 'blame', run]);
		t.regex(stderr, /add --loss/);
		const config = join(run, 'config.json');
		await writeFile(config, (await readFile(config, 'utf8')).replace('"clock": "virtual"', '"clock": "wall"'));
		await ask(/was in real time.* only from a checkpoint before record 9: it has none; make the run with/, '--at', '9');
		t.false(existsSync(`${run}-what-if-9`));
	}),
);

test.serial('a search for the client to blame that is interrupted shows what it found until then', async t => {
	const {child, said, ended} = startCutlayer(['trace', 'blame', planted, '--loss', '--round', '3']);
	await said(/^2\/3 /m);
	child.kill('SIGINT');
	const {code, stdout, stderr} = await ended;
	t.is(code, 130, stderr);
	t.regex(stderr, /interrupted: [12] of 3 clients were looked at; give --client for others/);
	t.regex(stdout, /^validation loss at the end .*\nclient .*\nc[01] +[\d.]+ +[+-][\d.]+\n/);
});
