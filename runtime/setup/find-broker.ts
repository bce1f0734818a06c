/**
Where the `nats-server` program is on this machine. Looks only: getting one is `broker.ts`, starting it is the bus's job.
*/
import path from 'node:path';
import {CutlayerError} from '../../protocols/errors.ts';
import {cacheFolder, type Environment} from './cache.ts';
import {findProgram, isExecutable, runCommand} from './command.ts';

/** A server binary and where it was found. */
export type FoundBroker = {readonly binary: string; readonly source: 'NATS_SERVER_BIN' | 'PATH' | 'cache'};

/** Where setup puts the server it gets. */
export const cachedBroker = (environment: Environment = process.env): string =>
	path.join(cacheFolder(environment), 'bin', 'nats-server');

/**
`nats-server` by NATS_SERVER_BIN, on PATH, or in the cache; undefined when it is nowhere.
Throws `broker-unreachable` when NATS_SERVER_BIN names no program.
*/
export function findBroker(environment: Environment = process.env): FoundBroker | undefined {
	const named = environment.NATS_SERVER_BIN;
	if (named) {
		if (isExecutable(named)) return {binary: named, source: 'NATS_SERVER_BIN'};
		throw new CutlayerError(
			'broker-unreachable',
			`Expected NATS_SERVER_BIN to name a program, found ${named}; correct or unset it`,
		);
	}
	const onPath = findProgram(['nats-server'], environment);
	if (onPath) return {binary: onPath, source: 'PATH'};
	const cached = cachedBroker(environment);
	return isExecutable(cached) ? {binary: cached, source: 'cache'} : undefined;
}

/** The version a `nats-server` says it is, such as `v2.15.1`. */
export async function brokerVersion(binary: string): Promise<string | undefined> {
	const {stdout, stderr} = await runCommand(binary, ['--version'], {timeoutMs: 10_000});
	return /v\d+\.\d+\.\d+\S*/.exec(stdout + stderr)?.[0];
}
