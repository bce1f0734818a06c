import {mkdtemp, rm, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {openScenario} from '../../runtime/cli/scenario-files.ts';
import {readTimelines} from '../../runtime/run/timelines.ts';

async function withFile<T>(text: string, use: (path: string) => Promise<T>): Promise<T> {
	const folder = await mkdtemp(join(tmpdir(), 'cutlayer-timelines-'));
	const path = join(folder, 'fleet.csv');
	await writeFile(path, text);
	return use(path).finally(() => rm(folder, {recursive: true, force: true}));
}

const csv = (...rows: string[]) => ['client,fromMs,toMs,speed', ...rows, ''].join('\n');

test('rows become a timeline for each client, in any order of clients', async t => {
	const text = csv('c0,0,100,1', 'c1,0,50,0', 'c0,100,200,0.25', 'c1,50,60,2');
	t.deepEqual(await withFile(text, readTimelines), {
		c0: [
			{atMs: 0, speed: 1},
			{atMs: 100, speed: 0.25},
		],
		c1: [
			{atMs: 0, speed: 0},
			{atMs: 50, speed: 2},
		],
	});
});

for (const [what, text, message] of [
	['a gap', csv('c0,0,10,1', 'c1,0,9,1', 'c0,20,30,1'), /fleet\.csv, line 4: a gap: client c0 .* 10 to 20; add a row/],
	['an overlap', csv('c0,0,10,1', 'c0,5,30,1'), /line 3: client c0 goes back from 10 to 5; put its rows in order/],
	['reversed times', csv('c0,0,10,1', 'c0,10,10,1'), /line 3: expected toMs after fromMs 10, got 10; swap/],
	['a late begin', csv('c0,3,10,1'), /line 2: expected client c0 to begin at 0, got 3; add a row with speed 0/],
	['a negative speed', csv('c0,0,10,-1'), /line 2: expected speed to be a number from 0 on, got "-1"/],
	['a word for a time', csv('c0,0,noon,1'), /line 2: expected toMs .* got "noon"/],
	['a row too short', csv('c0,0,10'), /line 2: .*give each row four values/],
	['an odd id', csv('Client 1,0,10,1'), /line 2: expected a client c0, c1, .*"Client 1"/],
	['other columns', 'who,when\nc0,0\n', /line 1: expected the columns client,fromMs,toMs,speed, got who,when/],
	['no rows', csv(), /line 1: expected rows, found none/],
] as const) {
	test(`${what} in a fleet's trace is refused with file, line and fix`, async t => {
		await withFile(text, async path => t.throwsAsync(readTimelines(path), {code: 'data-invalid', message}));
	});
}

test('a scenario takes its fleet from the file, and keeps it for the next time', async t => {
	await withFile(csv('c0,0,100,1', 'c1,0,50,0', 'c2,0,10,1'), async path => {
		const scenario = await openScenario('stragglers', [`fleet.profile=trace:${path}`, 'clients=3', 'faults=[]']);
		t.deepEqual(scenario.fleet.timelines.c1, [{atMs: 0, speed: 0}]);
		const again = join(path, '..', 'config.json');
		await writeFile(again, JSON.stringify({scenario}));
		await rm(path);
		t.deepEqual(await openScenario(again), scenario);
	});
});

test('a client without rows, and one too many, are refused by name', async t => {
	await withFile(csv('c0,0,100,1', 'c1,0,50,0'), async path => {
		const open = (clients: number) =>
			openScenario('stragglers', [`fleet.profile=trace:${path}`, `clients=${clients}`, 'faults=[]']);
		await t.throwsAsync(open(3), {message: /`fleet.profile`.*no rows for client `c2`.*lower clients/});
		await t.throwsAsync(open(1), {message: /`fleet.timelines.c1`.*no client `c1`/});
	});
});
