import {spawnSync} from 'node:child_process';
import {readdirSync, readFileSync, utimesSync, writeFileSync} from 'node:fs';
import {hostname} from 'node:os';
import path from 'node:path';
import {setImmediate} from 'node:timers/promises';
import test from 'ava';
import {withLock} from '../../runtime/setup/lock.ts';
import {temporaryFolder} from './world.ts';

const nobodyWaits = () => {
	throw new Error('nobody holds the lock');
};

test('ten that want the lock have it one after another', async t => {
	const folder = temporaryFolder(t);
	let inside = 0;
	let most = 0;
	const work = async () => {
		inside++;
		most = Math.max(most, inside);
		await setImmediate();
		inside--;
	};
	await Promise.all(Array.from({length: 10}, () => withLock(folder, work, () => undefined)));
	t.is(most, 1);
	t.deepEqual(readdirSync(folder), []);
});

test('the lock is given back when the work fails', async t => {
	const folder = temporaryFolder(t);
	await t.throwsAsync(
		withLock(folder, () => Promise.reject(new Error('failed')), nobodyWaits),
		{message: 'failed'},
	);
	t.is(await withLock(folder, async () => 'free', nobodyWaits), 'free');
});

test('who waits is told the owner', async t => {
	const folder = temporaryFolder(t);
	const owners: string[] = [];
	const inside = withLock(
		folder,
		async () => {
			const waiting = withLock(
				folder,
				async () => undefined,
				owner => owners.push(owner),
			);
			while (owners.length === 0) await setImmediate();
			return {waiting};
		},
		nobodyWaits,
	);
	await (await inside).waiting;
	t.deepEqual(owners, [`process ${process.pid} on ${hostname()}`]);
});

test('the lock of a process that died is taken over at once', async t => {
	const folder = temporaryFolder(t);
	const {pid} = spawnSync('true');
	writeFileSync(path.join(folder, 'setup.lock'), JSON.stringify({pid, host: hostname()}));
	t.is(await withLock(folder, async () => 'mine', nobodyWaits), 'mine');
});

test('the lock of a process that died is taken over by one of many', async t => {
	const folder = temporaryFolder(t);
	const {pid} = spawnSync('true');
	writeFileSync(path.join(folder, 'setup.lock'), JSON.stringify({pid, host: hostname()}));
	const order: number[] = [];
	await Promise.all(
		[1, 2, 3].map(each =>
			withLock(
				folder,
				async () => void order.push(each),
				() => undefined,
			),
		),
	);
	t.deepEqual(order.sort(), [1, 2, 3]);
	t.deepEqual(readdirSync(folder), []);
});

test('a lock that has been silent for long is taken over, whoever has its process id', async t => {
	const folder = temporaryFolder(t);
	const lock = path.join(folder, 'setup.lock');
	writeFileSync(lock, JSON.stringify({pid: process.pid, host: 'another-machine'}));
	const longAgo = new Date(Date.now() - 60_000);
	utimesSync(lock, longAgo, longAgo);
	const owner = await withLock(
		folder,
		async () => JSON.parse(readFileSync(lock, 'utf8')),
		() => undefined,
	);
	t.deepEqual(owner, {pid: process.pid, host: hostname()});
});
