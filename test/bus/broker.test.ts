/**
The embedded broker: found, started, ended, and gone with whoever started it.
*/
import {spawn} from 'node:child_process';
import {chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {createConnection} from 'node:net';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {createInterface} from 'node:readline';
import {fileURLToPath} from 'node:url';
import anyTest from 'ava';
import {startBroker} from '../../runtime/bus/broker.ts';
import {findBroker} from '../../runtime/setup/find-broker.ts';
import {testWith} from '../_helpers/optional.ts';

const found = findBroker();
const test = testWith(found?.binary);
const unreachable = {code: 'broker-unreachable'} as never;

/** Whether something listens on a loopback port. */
const answers = (port: number): Promise<boolean> =>
	new Promise(resolve => {
		const socket = createConnection(port, '127.0.0.1', () => {
			socket.destroy();
			resolve(true);
		});
		socket.on('error', () => resolve(false));
	});

function folderWith(...files: string[]): string {
	const folder = mkdtempSync(join(tmpdir(), 'cutlayer-test-'));
	for (const file of files) {
		mkdirSync(dirname(join(folder, file)), {recursive: true});
		writeFileSync(join(folder, file), '#!/bin/sh\necho boom: no such luck >&2\nexit 3\n');
		chmodSync(join(folder, file), 0o755);
	}
	return folder;
}

test('a stopped broker leaves no process, no port and no folder', async t => {
	const broker = await startBroker({binary: found!.binary});
	t.is(broker.url, `nats://127.0.0.1:${broker.port}`);
	t.true(await answers(broker.port));
	t.true(existsSync(broker.storeDir));
	await Promise.all([broker.stop(), broker.stop()]);
	t.false(await answers(broker.port));
	t.false(existsSync(dirname(broker.storeDir)));
	t.throws(() => process.kill(broker.pid, 0), {code: 'ESRCH'} as never);
});

test('a store folder that was given stays', async t => {
	const storeDir = folderWith();
	const broker = await startBroker({binary: found!.binary, storeDir});
	await broker.stop();
	t.true(existsSync(storeDir));
	rmSync(storeDir, {recursive: true});
});

test('a broker ends with the process that started it, even when that is killed', async t => {
	const program = `
		import {startBroker} from ${JSON.stringify(fileURLToPath(new URL('../../runtime/bus/broker.ts', import.meta.url)))};
		const {port, storeDir} = await startBroker({binary: ${JSON.stringify(found!.binary)}});
		console.log(JSON.stringify({port, storeDir}));
		setInterval(() => {}, 1000);
	`;
	const parent = spawn(process.execPath, ['--import=tsx', '--input-type=module', '-e', program], {
		stdio: ['ignore', 'pipe', 'inherit'],
	});
	const line = await new Promise<string>(resolve => createInterface({input: parent.stdout}).once('line', resolve));
	const {port, storeDir} = JSON.parse(line) as {port: number; storeDir: string};
	t.true(await answers(port));
	parent.kill('SIGKILL');
	const endMs = performance.now() + 30_000;
	while ((await answers(port)) || existsSync(storeDir)) if (performance.now() > endMs) break;
	t.false(await answers(port));
	t.false(existsSync(storeDir));
});

test('a port in use is an error that names it', async t => {
	const broker = await startBroker({binary: found!.binary});
	const error = await t.throwsAsync(startBroker({binary: found!.binary, port: broker.port}), unreachable);
	t.regex(error.message, new RegExp(`to start on port ${broker.port}.*already in use.*; choose another port`));
	await broker.stop();
});

test('a configuration the server does not take is an error with its last line', async t => {
	const error = await t.throwsAsync(startBroker({binary: found!.binary, config: 'no_such_setting: {'}), unreachable);
	t.regex(error.message, /it ended with 1, last line: .*Parse error/);
});

anyTest('a binary that is missing or dies at once is an error that names it and its last words', async t => {
	const missing = await t.throwsAsync(startBroker({binary: '/no/such/nats-server'}), unreachable);
	t.regex(missing.message, /Expected \/no\/such\/nats-server to start, found: .*ENOENT/);
	const folder = folderWith('nats-server');
	const dying = await t.throwsAsync(startBroker({binary: join(folder, 'nats-server')}), unreachable);
	t.regex(dying.message, /it ended with 3, last line: boom: no such luck/);
	rmSync(folder, {recursive: true});
});

anyTest('a broker is looked for in NATS_SERVER_BIN, then on PATH, then in the cache', t => {
	const folder = folderWith(
		'named',
		'path/nats-server',
		'cache/bin/nats-server',
		'xdg/cutlayer/bin/nats-server',
		'home/.cache/cutlayer/bin/nats-server',
	);
	const [PATH, CUTLAYER_CACHE, XDG_CACHE_HOME] = [
		`${join(folder, 'none')}:${join(folder, 'path')}`,
		join(folder, 'cache'),
		join(folder, 'xdg'),
	];
	const NATS_SERVER_BIN = join(folder, 'named');
	t.deepEqual(findBroker({NATS_SERVER_BIN, PATH, CUTLAYER_CACHE}), {
		binary: NATS_SERVER_BIN,
		source: 'NATS_SERVER_BIN',
	});
	t.deepEqual(findBroker({PATH, CUTLAYER_CACHE}), {binary: join(folder, 'path/nats-server'), source: 'PATH'});
	t.deepEqual(findBroker({CUTLAYER_CACHE, XDG_CACHE_HOME}), {
		binary: join(folder, 'cache/bin/nats-server'),
		source: 'cache',
	});
	t.deepEqual(findBroker({XDG_CACHE_HOME}), {binary: join(folder, 'xdg/cutlayer/bin/nats-server'), source: 'cache'});
	t.is(findBroker({CUTLAYER_CACHE: join(folder, 'none')}), undefined);
	const error = t.throws(() => findBroker({NATS_SERVER_BIN: join(folder, 'none')}), unreachable);
	t.regex(error!.message, /Expected NATS_SERVER_BIN to name a program, found .*none; correct or unset it/);
	rmSync(folder, {recursive: true});
});
