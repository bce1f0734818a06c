/**
The source files of a tree and the form in which a broken rule is told.
*/
import {readdirSync, readFileSync} from 'node:fs';
import path from 'node:path';

/** A file by its path from the root, with forward slashes. */
export type Source = {readonly file: string; readonly text: string};

/** The folders of the house. */
export const houseFolders = ['actors', 'protocols', 'runtime', 'scenarios', 'test'];

const ending = /\.(ts|mts|js|mjs|cjs)$/;

/** Every source file below the house's folders in `root`; golden numbers are data. */
export function readSources(root: string): Source[] {
	return houseFolders.flatMap(folder => {
		const entries = readdirSync(path.join(root, folder), {recursive: true, withFileTypes: true});
		return entries
			.filter(entry => entry.isFile() && ending.test(entry.name))
			.map(entry => path.relative(root, path.join(entry.parentPath, entry.name)).replaceAll(path.sep, '/'))
			.filter(file => !file.startsWith('test/golden/'))
			.map(file => ({file, text: readFileSync(path.join(root, file), 'utf8')}));
	});
}

/** `{path}:{line}: error: {x} is banned, use {y}` */
export const banned = (file: string, line: number, what: string, instead: string): string =>
	`${file}:${line}: error: ${what} is banned, use ${instead}`;
