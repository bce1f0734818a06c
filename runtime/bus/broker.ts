/**
A NATS server of our own: started on a loopback port with a store of its own, and gone with the process that started it.

It runs in a session of its own, so that Ctrl-C reaches us and not it. A small shell waits for the end of our pipe and then
ends the server and removes its folder: this works even when we are killed. (POSIX only; elsewhere a killed parent leaves it.)
*/
import {type ChildProcess, spawn} from 'node:child_process';
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {createInterface} from 'node:readline';
import {CutlayerError} from '../../protocols/errors.ts';

/** How to start a server. */
export type BrokerOptions = {
	/** The `nats-server` to run; see `findBroker` of setup. */
	readonly binary: string;
	/** Where JetStream keeps its streams; default a folder that goes with the server. */
	readonly storeDir?: string;
	/** The largest message; default 16 MiB, so that usual tensors need no chunks. */
	readonly maxPayloadBytes?: number;
	/** Default: a free one. */
	readonly port?: number;
	/** More lines of `nats-server` configuration, such as users and their permissions. */
	readonly config?: string;
	/** How long it may take to be ready; default 10,000. */
	readonly startTimeoutMs?: number;
};

/** A running server. */
export interface Broker {
	/** `nats://127.0.0.1:<port>` */
	readonly url: string;
	readonly port: number;
	readonly pid: number;
	readonly storeDir: string;
	/** Ends the server and removes what it left, but not a store folder that was given. */
	stop(): Promise<void>;
}

/** Starts a server on the loopback interface and waits until it takes connections. Throws `broker-unreachable` with its last words. */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
	const folder = mkdtempSync(join(tmpdir(), 'cutlayer-broker-'));
	const storeDir = options.storeDir ?? join(folder, 'store');
	const configFile = join(folder, 'nats.conf');
	writeFileSync(configFile, configOf(options, storeDir), {mode: 0o600});
	const child = spawn(options.binary, ['-c', configFile], {detached: true, stdio: ['ignore', 'ignore', 'pipe']});
	try {
		const port = await readyPort(child, options);
		return running(child, port, folder, storeDir);
	} catch (thrown) {
		await end(child);
		rmSync(folder, {recursive: true, force: true});
		throw thrown;
	}
}

function configOf({maxPayloadBytes = 16 * 2 ** 20, port = -1, config = ''}: BrokerOptions, storeDir: string): string {
	return [
		`listen: "127.0.0.1:${port}"`,
		`max_payload: ${maxPayloadBytes}`,
		// What may wait for one slow subscriber before the server cuts it off.
		`max_pending: ${Math.max(256 * 2 ** 20, 4 * maxPayloadBytes)}`,
		`jetstream { store_dir: ${JSON.stringify(storeDir)} }`,
		config,
		'',
	].join('\n');
}

/** Reads the log until the server is ready; the port is in it when any was asked for. */
function readyPort(child: ChildProcess, {binary, port, startTimeoutMs = 10_000}: BrokerOptions): Promise<number> {
	return new Promise((resolve, reject) => {
		let lastLine = 'nothing';
		let found = port;
		const fail = (what: string) => {
			clearTimeout(timer);
			const where = port === undefined ? '' : ` on port ${port}`;
			const fix = /address already in use/.test(what)
				? 'choose another port or none'
				: 'run `cutlayer doctor`, or name a server with --nats';
			reject(new CutlayerError('broker-unreachable', `Expected ${binary} to start${where}, found: ${what}; ${fix}`));
		};
		const timer = setTimeout(
			() => fail(`not ready after ${startTimeoutMs} ms, last line: ${lastLine}`),
			startTimeoutMs,
		);
		child.once('error', error => fail(error.message));
		child.once('close', code => fail(`it ended with ${code}, last line: ${lastLine}`));
		createInterface({input: child.stderr!}).on('line', line => {
			lastLine = line.replace(/^\[\d+\] \S+ \S+ /, '');
			const address = /Listening for client connections on \S+:(\d+)/.exec(line);
			if (address) found = Number(address[1]);
			if (!line.includes('Server is ready') || found === undefined) return;
			clearTimeout(timer);
			resolve(found);
		});
	});
}

function running(child: ChildProcess, port: number, folder: string, storeDir: string): Broker {
	const pid = child.pid!;
	const guard = startGuard(pid, folder);
	// The server must not keep this process alive; when it ends, the guard cleans up.
	child.unref();
	(child.stderr as unknown as {unref(): void}).unref();
	let stopping: Promise<void> | undefined;
	const stop = async () => {
		await end(child);
		endGuard(guard);
		rmSync(folder, {recursive: true, force: true});
	};
	return {url: `nats://127.0.0.1:${port}`, port, pid, storeDir, stop: () => (stopping ??= stop())};
}

const guardScript = `
cat >/dev/null
kill -TERM "$0" 2>/dev/null
waited=0
while [ "$waited" -lt 60 ] && kill -0 "$0" 2>/dev/null; do
	sleep 0.1
	waited=$((waited + 1))
	[ "$waited" -eq 50 ] && kill -KILL "$0" 2>/dev/null
done
rm -rf "$1"
`;

/** Waits, in a session of its own, for the end of this process, and then ends the server and removes its folder. */
function startGuard(pid: number, folder: string): ChildProcess {
	const guard = spawn('/bin/sh', ['-c', guardScript, String(pid), folder], {
		detached: true,
		stdio: ['pipe', 'ignore', 'ignore'],
	});
	guard.on('error', () => undefined); // no /bin/sh: only a killed parent leaves the server behind
	guard.stdin?.on('error', () => undefined);
	guard.unref();
	(guard.stdin as unknown as {unref?(): void} | null)?.unref?.();
	return guard;
}

/** Ends the shell and the command it waits for: its whole process group. */
function endGuard(guard: ChildProcess): void {
	if (guard.pid === undefined) return;
	try {
		process.kill(-guard.pid, 'SIGKILL');
	} catch {
		// It ended by itself.
	}
	guard.stdin?.destroy();
}

/** Ends a child: politely, and after 5 seconds by force. */
async function end(child: ChildProcess): Promise<void> {
	if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
	child.ref();
	const ended = new Promise<void>(resolve => child.once('exit', () => resolve()));
	child.kill('SIGTERM');
	const force = setTimeout(() => child.kill('SIGKILL'), 5000);
	await ended;
	clearTimeout(force);
}
