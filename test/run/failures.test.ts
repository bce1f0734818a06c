/**
What a run does when something outside it fails: the disk fills, or no client can compute.
*/
import {execFileSync} from 'node:child_process';
import {existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync} from 'node:fs';
import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import type {Compute, PassRequest} from '../../protocols/ports.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {lossesOf, runIn, tinyBench, tinyScenario, withRunFolder} from '../_helpers/tiny-run.ts';

const bench = await tinyBench(await nativeBackend(), 'tiny-gpt2');
const scenario = tinyScenario({
	evaluation: {everyRounds: 0},
	checkpoint: {everyRounds: 1},
	training: {steps: 6, stepsPerRound: 2},
});
const expected = await bench.run(scenario);

/** A run in `folder` that records all it can, with what a user would read. */
async function runThere(folder: string) {
	const notices: string[] = [];
	const {world, close} = bench.world(scenario);
	const trace = {level: 'digest', code: '0', backend: 'test'} as const;
	try {
		return {...(await runIn(world, {scenario, folder, trace, onNotice: text => notices.push(text)})), notices};
	} finally {
		await close();
	}
}

async function runsOnWithoutDisk(t: ExecutionContext, folder: string): Promise<string[]> {
	const {summary, rows, notices} = await runThere(folder);
	t.is(summary.status, 'done', summary.reason);
	t.deepEqual(lossesOf(rows, scenario), lossesOf(expected.rows, scenario));
	const about = (what: RegExp) => notices.filter(text => what.test(text));
	t.is(about(/Cannot write \S+metrics\.jsonl: ENOSPC.*; training goes on without metrics, free some space$/).length, 1);
	t.is(about(/checkpoint.*; the run goes on without/).length, 1, notices.join('\n'));
	t.is(new Set(notices).size, notices.length);
	return notices;
}

test('where metrics and checkpoints cannot be written, training goes on and each is said once', async t => {
	await withRunFolder(async folder => {
		symlinkSync('/dev/full', join(folder, 'metrics.jsonl'));
		writeFileSync(join(folder, 'checkpoints'), '');
		const notices = await runsOnWithoutDisk(t, folder);
		t.is(notices.length, 2, notices.join('\n'));
		t.is(readFileSync(join(folder, 'checkpoints'), 'utf8'), '');
	});
});

/** A disk of 64 kB with no space left; undefined where it may not be made. */
async function fullDisk(t: ExecutionContext): Promise<string | undefined> {
	const folder = await mkdtemp(join(tmpdir(), 'cutlayer-full-'));
	t.teardown(() => rm(folder, {recursive: true, force: true}));
	try {
		execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder], {stdio: 'ignore'});
	} catch {
		t.log('no disk can be mounted here');
		return undefined;
	}
	t.teardown(() => execFileSync('umount', [folder]));
	t.throws(() => writeFileSync(join(folder, 'filler'), Buffer.alloc(1 << 20)), {code: 'ENOSPC'});
	return folder;
}

test('on a full disk training goes on, each loss is said once, and no part of a checkpoint is left', async t => {
	const folder = await fullDisk(t);
	if (folder === undefined) return t.pass();
	const notices = await runsOnWithoutDisk(t, folder);
	t.is(notices.filter(text => /trace/i.test(text)).length, 1, notices.join('\n'));
	t.is(notices.length, 3, notices.join('\n'));
	const checkpoints = join(folder, 'checkpoints');
	t.deepEqual(existsSync(checkpoints) ? readdirSync(checkpoints) : [], []);
	t.deepEqual(
		readdirSync(folder, {recursive: true}).filter(name => String(name).endsWith('.tmp')),
		[],
	);
});

/** Arithmetic that fails for the clients named, from their `from`-th forward pass on. */
function failing(clients: readonly string[], from: number): Compute {
	const compute = bench.compute();
	const passes = new Map<string, number>();
	const run = (request: PassRequest) => {
		const {actor, pass} = request;
		if (pass === 'forward') passes.set(actor, (passes.get(actor) ?? 0) + 1);
		const isBroken = pass === 'forward' && clients.includes(actor) && passes.get(actor)! >= from;
		return isBroken ? Promise.reject(new Error(`${actor} has no memory left`)) : compute.run(request);
	};
	return {run, close: () => compute.close()};
}

for (const from of [1, 4]) {
	test(`a run whose clients all fail at their pass ${from} ends with each client's reason`, async t => {
		const {summary, adapters} = await bench.run(scenario, {compute: failing(['c0', 'c1', 'c2'], from)});
		t.is(summary.status, 'failed');
		t.regex(summary.reason, /^every client gave up: (c\d: .*c\d has no memory left(; )?){3}$/);
		t.is(adapters, undefined);
	});
}

test('a run of which one client fails goes on without it', async t => {
	const {summary} = await bench.run(scenario, {compute: failing(['c1'], 4)});
	t.is(summary.status, 'done', summary.reason);
	t.regex(summary.reason, /^all steps are done; without c1: .*c1 has no memory left/);
	t.deepEqual(
		Object.values(summary.clients).map(({steps}) => steps),
		[6, 3, 6],
	);
});
