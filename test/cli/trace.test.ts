import {execFile} from 'node:child_process';
import {readFile, writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import test from 'ava';
import {callCutlayer} from '../_helpers/call-cutlayer.ts';
import {recordRun, withFolder} from '../_helpers/recorded-run.ts';
import {recordsIn, rewriteTrace} from '../_helpers/traces.ts';

const command = new URL('../../runtime/cli/cutlayer.mjs', import.meta.url).pathname;
const kept = new URL('../traces/split-lora.trace', import.meta.url).pathname;

type Said = {code: number; stdout: string; stderr: string};

const cutlayer = (...args: string[]): Promise<Said> =>
	new Promise(resolve => {
		const child = execFile(process.execPath, [command, ...args], {maxBuffer: 1 << 26}, (_, stdout, stderr) =>
			resolve({code: child.exitCode ?? -1, stdout, stderr}),
		);
	});

test('replay exits 0 for a whole trace, 1 for one that parts, 2 for a damaged one', t =>
	withFolder(async folder => {
		const whole = await cutlayer('replay', kept);
		t.is(whole.code, 0);
		t.regex(whole.stdout, /no divergence\n$/);
		await recordRun({folder});
		await rewriteTrace(folder, record =>
			record.kind === 'input' && record.event.type === 'upload-accepted'
				? {...record, event: {type: 'host.pause'}}
				: record,
		);
		const parted = await cutlayer('replay', folder);
		t.is(parted.code, 1);
		t.regex(parted.stdout, /first divergence: record \d+ of c\d/);
		t.regex(parted.stdout, /started as client/);
		const path = join(folder, 'trace', 'run.trace');
		const bytes = await readFile(path);
		bytes[5000]! ^= 1;
		await writeFile(path, bytes);
		const damaged = await cutlayer('replay', folder);
		t.is(damaged.code, 2);
		t.regex(damaged.stderr, /record \d+ at byte \d+ is damaged/);
	}));

test('trace lists, shows, checks and compares', async t => {
	const listed = await cutlayer('trace', 'ls', kept, '--actor', 'main', '--verb', 'mainStep', '--round', '1', '--json');
	const records = listed.stdout
		.trim()
		.split('\n')
		.map(line => JSON.parse(line) as {actor: string; n: number});
	t.is(records.length, 2);
	t.true(records.every(({actor}) => actor === 'main'));
	const shown = await cutlayer('trace', 'show', kept, String(records[0]!.n), '--json');
	const {causes, effects} = JSON.parse(shown.stdout) as {causes: string[]; effects: string[]};
	t.true(causes.length > 5 && effects.length >= 1);
	const checked = await cutlayer('trace', 'check', kept, '--json');
	t.is(checked.code, 0);
	t.deepEqual((JSON.parse(checked.stdout) as {violations: unknown[]}).violations, []);
	const other = new URL('../traces/sequential.trace', import.meta.url).pathname;
	const [same, parted] = await Promise.all([
		cutlayer('trace', 'diff', kept, kept),
		cutlayer('trace', 'diff', kept, other),
	]);
	t.is(same.code, 0);
	t.is(parted.code, 1);
	t.regex(parted.stdout, /the runs part at \w+/);
	const nothing = await cutlayer('trace', 'show', kept, '999999');
	t.is(nothing.code, 2);
	t.regex(nothing.stderr, /There is no record 999999 in .*: expected a number from 1 to \d+\n/);
});

test('follow ends with the trace', async t => {
	const {code, stdout} = await cutlayer('trace', 'follow', kept);
	t.is(code, 0);
	t.regex(stdout, /the trace ends: done\n$/);
});

test.serial('what a list is asked for and is not there is said with what there is', async t => {
	const ask = (...flags: string[]) => callCutlayer(['trace', 'ls', kept, ...flags]);
	const stranger = await ask('--actor', 'c9');
	t.is(stranger.code, 2);
	t.regex(stranger.stderr, /There is no actor c9 in .*: expected one of fed, main, evaluator, c0, c1, c2\n/);
	const word = await ask('--verb', 'uplaod');
	t.is(word.code, 2);
	t.regex(word.stderr, /There is no verb uplaod in .*: expected one of .*\bupload\b/);
	const none = await ask('--actor', 'c1', '--round', '77');
	t.deepEqual([none.code, none.stdout, none.stderr], [0, '', 'no record matches\n']);
	for (const flag of ['--from', '--to']) {
		const time = await ask(flag, 'noon');
		t.is(time.code, 2);
		t.regex(time.stderr, /expected milliseconds of run time from 0 on/);
	}
	const all = await recordsIn(kept);
	const [from, to] = [all[20]!.t, all[60]!.t];
	const {stdout} = await ask('--from', `${from}`, '--to', `${to}`, '--json');
	const listed = stdout
		.trim()
		.split('\n')
		.map(line => (JSON.parse(line) as {n: number}).n);
	t.deepEqual(
		listed,
		all.filter(record => record.t >= from && record.t <= to).map(({n}) => n),
	);
});
