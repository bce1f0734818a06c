/**
Where downloads live: one folder a user outside `node_modules`, and how something new enters it: staged beside its place, then
renamed, so that whatever has its final name is whole.
*/
import {mkdir, mkdtemp, readdir, rename, rm, statfs} from 'node:fs/promises';
import {homedir} from 'node:os';
import path from 'node:path';
import {CutlayerError} from '../../protocols/errors.ts';

/** The variables of a process, as `process.env` gives them. */
export type Environment = Readonly<Record<string, string | undefined>>;

const stagingPrefix = '.staging-';

/** The cache folder: `CUTLAYER_CACHE`, else `cutlayer` in `XDG_CACHE_HOME`, `~/.cache` or, on macOS, `~/Library/Caches`. */
export function cacheFolder(environment: Environment = process.env, platform: string = process.platform): string {
	if (environment.CUTLAYER_CACHE) return path.resolve(environment.CUTLAYER_CACHE);
	if (environment.XDG_CACHE_HOME) return path.join(environment.XDG_CACHE_HOME, 'cutlayer');
	const home = environment.HOME || homedir();
	return platform === 'darwin'
		? path.join(home, 'Library', 'Caches', 'cutlayer')
		: path.join(home, '.cache', 'cutlayer');
}

/**
Lets `fill` write into a new folder of the cache, then moves what `fill` returns, a file or folder in it, to `target` in one
rename. Nothing is left behind when `fill` throws.
*/
export async function placeAtomically(
	cache: string,
	target: string,
	fill: (staging: string) => Promise<string>,
): Promise<void> {
	await mkdir(cache, {recursive: true});
	const staging = await mkdtemp(path.join(cache, stagingPrefix));
	try {
		const whole = await fill(staging);
		await mkdir(path.dirname(target), {recursive: true});
		await rm(target, {recursive: true, force: true});
		await rename(whole, target);
	} finally {
		await rm(staging, {recursive: true, force: true});
	}
}

/** Removes what an interrupted setup left behind; to be called only while holding the setup lock. */
export async function clearStaging(cache: string): Promise<void> {
	const names = await readdir(cache).catch(() => []);
	const leftovers = names.filter(name => name.startsWith(stagingPrefix));
	await Promise.all(leftovers.map(name => rm(path.join(cache, name), {recursive: true, force: true})));
}

/** Free bytes where `folder` is or would be made. */
export async function freeBytes(folder: string): Promise<number> {
	for (let at = path.resolve(folder); ; at = path.dirname(at)) {
		const stats = await statfs(at).catch(() => undefined);
		if (stats) return stats.bavail * stats.bsize;
		if (at === path.dirname(at)) return 0;
	}
}

/** Throws `disk` when `folder` has less than `bytes` free. */
export async function requireSpace(folder: string, bytes: number, what: string): Promise<void> {
	const free = await freeBytes(folder);
	if (free >= bytes) return;
	throw new CutlayerError(
		'disk',
		`Expected ${megabytes(bytes)} free in ${folder} for ${what}, found ${megabytes(free)}: make room, or name another folder with CUTLAYER_CACHE`,
	);
}

/** A number of bytes in decimal megabytes, for people. */
export const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
