/**
One setup at a time per cache folder, across processes. A lock whose owner died is taken over; nothing here waits on a dead process.
*/
import {link, mkdir, readFile, rename, rm, stat, utimes, writeFile} from 'node:fs/promises';
import {hostname} from 'node:os';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {isAlive} from './is-alive.ts';

type Owner = {readonly pid: number; readonly host: string};

const touchEveryMs = 5000;
const silentForMs = 30_000; // an owner on another machine, or whose process id was given to somebody else, counts as dead
const pollEveryMs = 100;

/** Runs `work` while holding `folder/setup.lock`; `onWait` is told once who holds it when somebody else does. */
export async function withLock<T>(folder: string, work: () => Promise<T>, onWait: (owner: string) => void): Promise<T> {
	await mkdir(folder, {recursive: true});
	const lock = path.join(folder, 'setup.lock');
	let hasWaited = false;
	while (!(await tryTake(lock))) {
		if (await removeIfDead(lock)) continue;
		if (!hasWaited) onWait(await describeOwner(lock));
		hasWaited = true;
		await sleep(pollEveryMs);
	}
	const touching = setInterval(() => void touch(lock), touchEveryMs).unref();
	try {
		return await work();
	} finally {
		clearInterval(touching);
		await rm(lock, {force: true});
	}
}

/** Written beside the lock first and linked into place, so that a lock is never seen without its owner. */
async function tryTake(lock: string): Promise<boolean> {
	const own = `${lock}.${process.pid}.${process.hrtime.bigint()}`;
	await writeFile(own, JSON.stringify({pid: process.pid, host: hostname()} satisfies Owner));
	try {
		await link(own, lock);
		return true;
	} catch (error) {
		if (hasCode(error, 'EEXIST')) return false;
		throw error;
	} finally {
		await rm(own, {force: true});
	}
}

/** Takes a dead owner's lock away. The rename decides between rivals; a live lock moved by mistake is put back. */
async function removeIfDead(lock: string): Promise<boolean> {
	const seen = await stat(lock).catch(() => undefined);
	if (!seen) return true;
	if (!(await isDead(lock, seen.mtimeMs))) return false;
	const aside = `${lock}.dead.${process.pid}.${process.hrtime.bigint()}`;
	try {
		await rename(lock, aside);
	} catch (error) {
		if (hasCode(error, 'ENOENT')) return true;
		throw error;
	}
	const moved = await stat(aside);
	if (moved.ino !== seen.ino) await link(aside, lock).catch(() => undefined);
	await rm(aside, {force: true});
	return true;
}

async function isDead(lock: string, touchedAtMs: number): Promise<boolean> {
	if (Date.now() - touchedAtMs > silentForMs) return true;
	const owner = await readOwner(lock);
	return owner !== undefined && owner.host === hostname() && !isAlive(owner.pid);
}

async function readOwner(lock: string): Promise<Owner | undefined> {
	try {
		return JSON.parse(await readFile(lock, 'utf8')) as Owner;
	} catch {
		return undefined;
	}
}

async function describeOwner(lock: string): Promise<string> {
	const owner = await readOwner(lock);
	return owner ? `process ${owner.pid} on ${owner.host}` : 'another process';
}

async function touch(lock: string): Promise<void> {
	const now = new Date();
	await utimes(lock, now, now).catch(() => undefined);
}

const hasCode = (error: unknown, code: string): boolean =>
	error instanceof Error && 'code' in error && error.code === code;
