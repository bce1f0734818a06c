import {existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import test from 'ava';
import {
	cacheFolder,
	clearStaging,
	freeBytes,
	megabytes,
	placeAtomically,
	requireSpace,
} from '../../runtime/setup/cache.ts';
import {temporaryFolder} from './world.ts';

test('the cache is where the variables say, else where the system keeps caches', t => {
	t.is(cacheFolder({CUTLAYER_CACHE: '/own', XDG_CACHE_HOME: '/xdg', HOME: '/home/a'}, 'linux'), '/own');
	t.is(cacheFolder({XDG_CACHE_HOME: '/xdg', HOME: '/home/a'}, 'linux'), '/xdg/cutlayer');
	t.is(cacheFolder({HOME: '/home/a'}, 'linux'), '/home/a/.cache/cutlayer');
	t.is(cacheFolder({HOME: '/Users/a'}, 'darwin'), '/Users/a/Library/Caches/cutlayer');
});

test('what is placed is whole and replaces what was there', async t => {
	const cache = temporaryFolder(t);
	const target = path.join(cache, 'deep', 'thing');
	for (const text of ['old', 'new']) {
		await placeAtomically(cache, target, async staging => {
			mkdirSync(path.join(staging, 'whole'));
			writeFileSync(path.join(staging, 'whole', text), text);
			return path.join(staging, 'whole');
		});
	}
	t.deepEqual(readdirSync(target), ['new']);
	t.deepEqual(readdirSync(cache), ['deep']);
});

test('a failed placing leaves the old thing and nothing else', async t => {
	const cache = temporaryFolder(t);
	const target = path.join(cache, 'thing');
	writeFileSync(target, 'old');
	const failing = placeAtomically(cache, target, async staging => {
		writeFileSync(path.join(staging, 'half'), 'half');
		throw new Error('interrupted');
	});
	await t.throwsAsync(failing, {message: 'interrupted'});
	t.is(readFileSync(target, 'utf8'), 'old');
	t.deepEqual(readdirSync(cache), ['thing']);
});

test('what a killed setup left is cleared, and only that', async t => {
	const cache = temporaryFolder(t);
	mkdirSync(path.join(cache, '.staging-killed', 'tmp'), {recursive: true});
	mkdirSync(path.join(cache, 'bin'));
	await clearStaging(cache);
	t.deepEqual(readdirSync(cache), ['bin']);
	await t.notThrowsAsync(clearStaging(path.join(cache, 'absent')));
});

test('too little room is told with both numbers', async t => {
	const folder = path.join(temporaryFolder(t), 'not', 'yet');
	t.true((await freeBytes(folder)) > 0);
	t.false(existsSync(folder));
	await t.notThrowsAsync(requireSpace(folder, 1, 'a byte'));
	await t.throwsAsync(requireSpace(folder, 1e18, 'an exabyte'), {
		message: /Expected 1000000000000 MB free in .* for an exabyte, found \d+ MB: make room, or .* CUTLAYER_CACHE/,
	});
	t.is(megabytes(7_217_765), '7.2 MB');
	t.is(megabytes(274_100_000), '274 MB');
});
