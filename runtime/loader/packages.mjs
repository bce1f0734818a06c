/**
Bundles packages that consist of hundreds of small modules, once, into a cache folder. Every module that is imported passes through
the loader's thread, which takes longer than to read it: those packages were most of the time that a command needs to start.
*/
import {createHash} from 'node:crypto';
import {existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync} from 'node:fs';
import path from 'node:path';
import {fileURLToPath, pathToFileURL} from 'node:url';

/** What is imported, by the name of its file in the cache. */
const entries = {
	typebox: 'typebox',
	'typebox-value': 'typebox/value',
	'typebox-compile': 'typebox/compile',
	plot: '@observablehq/plot',
	linkedom: 'linkedom',
	gguf: '@huggingface/gguf',
};

/** Bundled modules written as CommonJS ask for Node's own with `require`. */
const banner = "import {createRequire} from 'node:module'; const require = createRequire(import.meta.url);";

/** The usual place for what tools may make again: `.cache` in the `node_modules` that holds the packages. */
export const bundlesFolder = () => path.join(packageFolder('typebox'), '..', '.cache', 'cutlayer');

/**
The URL of each bundle by what is imported. They are made when this version of the packages has none in `folder`; when that is not
possible (no right to write there, no esbuild for this machine) there are none, and the packages are imported as they are.
@param {string} folder
@returns {Promise<Record<string, string>>}
*/
export async function bundlePackages(folder) {
	try {
		const target = path.join(folder, versionOf(Object.values(entries)));
		if (!existsSync(target)) await fill(folder, target);
		const urlOf = name => pathToFileURL(path.join(target, `${name}.mjs`)).href;
		return Object.fromEntries(Object.entries(entries).map(([name, specifier]) => [specifier, urlOf(name)]));
	} catch {
		return {};
	}
}

/** Names what was bundled: the packages, their versions, and this file, which says how. */
function versionOf(specifiers) {
	const hash = createHash('sha256').update(readFileSync(fileURLToPath(import.meta.url)));
	for (const specifier of specifiers) hash.update(readFileSync(manifestOf(specifier)));
	return hash.digest('hex').slice(0, 16);
}

/** The package.json of the package that an import comes from. */
function manifestOf(specifier) {
	const names = specifier.split('/');
	return path.join(packageFolder(names.slice(0, specifier.startsWith('@') ? 2 : 1).join('/')), 'package.json');
}

/** Where a package lies, looked for from here upwards; not by the resolver, which may lead to a bundle already. */
function packageFolder(name) {
	for (let at = import.meta.dirname; ; at = path.dirname(at)) {
		const folder = path.join(at, 'node_modules', name);
		if (existsSync(folder)) return folder;
		if (at === path.dirname(at)) throw new Error(`${name} is not installed`);
	}
}

/** Several processes may do this at once: each makes its own, and one of them gets the name. */
async function fill(folder, target) {
	const {build} = await import('esbuild');
	mkdirSync(folder, {recursive: true});
	const staging = mkdtempSync(path.join(folder, '.staging-'));
	try {
		await build({
			absWorkingDir: import.meta.dirname,
			entryPoints: entries,
			outdir: staging,
			outExtension: {'.js': '.mjs'},
			bundle: true,
			splitting: true,
			format: 'esm',
			platform: 'node',
			banner: {js: banner},
			logLevel: 'silent',
		});
		renameSync(staging, target);
	} catch (error) {
		if (!existsSync(target)) throw error;
	} finally {
		rmSync(staging, {recursive: true, force: true});
	}
}
