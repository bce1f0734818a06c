/**
A TensorFlow library the user names with TENSORFLOW_LIB: found, never changed; only the binding for it goes into the cache.
*/
import {createHash} from 'node:crypto';
import {existsSync, readdirSync, realpathSync, statSync} from 'node:fs';
import path from 'node:path';
import {CutlayerError} from '../../protocols/errors.ts';
import type {NativeLibrary} from './binding.ts';

const libraryName = /^libtensorflow(_cc|_framework)?\.(so(\.2)?|(2\.)?dylib)$/;

/**
The library in `folder` or its `lib`, with headers in `include` beside or below it.
Throws `backend-missing` when the folder does not hold what it should.
*/
export function ownLibrary(cache: string, folder: string): NativeLibrary {
	const places = [folder, path.join(folder, 'lib')];
	const found = places.map(place => ({place, files: librariesIn(place)})).find(({files}) => files.length > 0);
	if (!found) throw missing(folder, 'libtensorflow_cc or libtensorflow in it or its `lib`');
	const includeFolder = [path.join(found.place, 'include'), path.join(found.place, '..', 'include')].find(place =>
		existsSync(path.join(place, 'tensorflow', 'c', 'c_api.h')),
	);
	if (!includeFolder) throw missing(folder, '`include/tensorflow/c/c_api.h` beside the library');
	const key = keyOf(found.files);
	return {
		libraries: found.files,
		includeFolder,
		bindingFolder: path.join(cache, `own-${key}`, 'bindings', `node-${process.versions.modules}`),
		from: `TENSORFLOW_LIB=${folder}`,
		cudaFolders: [],
	};
}

/** One file of each part of the library (`_cc` or the plain one, and `_framework`), the shortest name with a version first. */
function librariesIn(folder: string): string[] {
	if (!existsSync(folder)) return [];
	const names = readdirSync(folder)
		.filter(name => libraryName.test(name))
		.sort();
	const pick = (part: string) => names.filter(name => name.startsWith(`libtensorflow${part}.`)).at(-1);
	const main = pick('_cc') ?? pick('');
	const framework = pick('_framework');
	return main ? [main, framework].filter(name => name !== undefined).map(name => path.join(folder, name)) : [];
}

/** Changes whenever another library stands at the path, so that a binding is never used with a library it was not built for. */
function keyOf(files: readonly string[]): string {
	const hash = createHash('sha256');
	for (const file of files.map(name => realpathSync(name))) {
		const {size, mtimeMs} = statSync(file);
		hash.update(`${file} ${size} ${mtimeMs}\n`);
	}
	return hash.digest('hex').slice(0, 12);
}

const missing = (folder: string, what: string) =>
	new CutlayerError(
		'backend-missing',
		`Expected ${what} in TENSORFLOW_LIB=${folder}, found none: name a folder with TensorFlow's library and headers, or unset the variable`,
	);
