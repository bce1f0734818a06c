/**
The folder a run leaves, and how a file in it is replaced whole or not at all.
*/
import {existsSync} from 'node:fs';
import {mkdir, open, readFile, rename, rm} from 'node:fs/promises';
import {dirname, join} from 'node:path';
import {CutlayerError, errorText} from '../../protocols/errors.ts';

export const runFiles = {
	config: 'config.json',
	metrics: 'metrics.jsonl',
	summary: 'summary.json',
	adapters: 'adapters',
	checkpoints: 'checkpoints',
	trace: 'trace',
} as const;

/** Makes a new run folder; refuses one that holds another run. */
export async function createRunFolder(folder: string): Promise<void> {
	if (existsSync(join(folder, runFiles.config))) {
		throw new CutlayerError(
			'usage',
			`${folder} already holds a run; give another --out, or go on with it by --resume ${folder}`,
		);
	}
	try {
		await mkdir(folder, {recursive: true});
	} catch (error) {
		throw new CutlayerError('disk', `Cannot make the run folder ${folder}: ${errorText(error)}; give another --out`, {
			cause: error,
		});
	}
}

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
		await rm(temporary, {force: true});
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
