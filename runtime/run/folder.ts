/**
The folder a run leaves, and how a file in it is replaced whole or not at all.
*/
import {constants, existsSync} from 'node:fs';
import {access, mkdir, open, readFile, rename, rm, stat} from 'node:fs/promises';
import {dirname, join} from 'node:path';
import {CutlayerError, errorText} from '../../protocols/errors.ts';

export const runFiles = {
	config: 'config.json',
	metrics: 'metrics.jsonl',
	summary: 'summary.json',
	adapters: 'adapters',
	checkpoints: 'checkpoints',
	/** Of each client of a durable run, its last checkpoints. */
	states: 'states',
	trace: 'trace',
} as const;

/** Refuses a folder that holds another run, or that cannot be one; makes nothing. Throws `usage` or `disk`. */
export async function checkRunFolder(folder: string): Promise<void> {
	const taken = Object.values(runFiles).find(name => existsSync(join(folder, name)));
	if (taken !== undefined) {
		throw new CutlayerError(
			'usage',
			`${folder} already holds a run (its ${taken} is there); give another --out, or go on with it by --resume ${folder}`,
		);
	}
	let place = folder;
	while (!existsSync(place)) place = dirname(place);
	try {
		if (!(await stat(place)).isDirectory()) throw new Error(`${place} is a file`);
		await access(place, constants.W_OK);
	} catch (error) {
		throw cannotMake(folder, error);
	}
}

/** Makes a new run folder; the answer takes it away again, with all a run may have written. Throws `usage` or `disk`. */
export async function createRunFolder(folder: string): Promise<() => Promise<void>> {
	await checkRunFolder(folder);
	const made = await makeFolder(folder).catch(error => Promise.reject(cannotMake(folder, error)));
	return async () => {
		const ours = made ? [made] : Object.values(runFiles).map(name => join(folder, name));
		for (const path of ours) await rm(path, {recursive: true, force: true});
	};
}

/**
Makes a folder and those above it, and answers the topmost it made. The last one is made by itself: where nothing can be made
below a folder that is there, as in /proc, making all in one call would try for ever.
*/
async function makeFolder(folder: string): Promise<string | undefined> {
	const above = await mkdir(dirname(folder), {recursive: true});
	if (existsSync(folder)) return above;
	await mkdir(folder);
	return above ?? folder;
}

const cannotMake = (folder: string, error: unknown) =>
	new CutlayerError('disk', `Cannot make the run folder ${folder}: ${errorText(error)}; give another --out`, {
		cause: error,
	});

/** Writes a file so that a reader sees the old one or the new one, never a part: temporary file, fsync, rename. */
export async function replaceFile(path: string, content: string | Uint8Array): Promise<void> {
	const temporary = `${path}.tmp`;
	try {
		const file = await open(temporary, 'w');
		try {
			await file.writeFile(content);
			await file.sync();
		} finally {
			await file.close();
		}
		await rename(temporary, path);
		const folder = await open(dirname(path), 'r');
		await folder.sync().finally(() => folder.close());
	} catch (error) {
		await rm(temporary, {force: true}).catch(() => undefined);
		throw new CutlayerError(
			'disk',
			`Cannot write ${path}: ${errorText(error)}; free some space or give another --out`,
			{cause: error},
		);
	}
}

export const replaceJson = (path: string, value: unknown): Promise<void> =>
	replaceFile(path, `${JSON.stringify(value, null, '\t')}\n`);

/** A JSON file of a run folder; `what` names it for the user. */
export async function readJson(path: string, what: string): Promise<unknown> {
	try {
		return JSON.parse(await readFile(path, 'utf8'));
	} catch (error) {
		throw new CutlayerError(
			'usage',
			`Cannot read ${what} at ${path}: ${errorText(error)}; is this the folder of a run?`,
			{cause: error},
		);
	}
}
