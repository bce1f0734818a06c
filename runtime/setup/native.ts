/**
Native TensorFlow under TensorFlow.js: library and headers out of a wheel into the cache, the binding's C++ compiled against them
beside it. Nothing is written into `node_modules`, so that a reinstall costs nothing.
*/
import {existsSync, readFileSync} from 'node:fs';
import {mkdir, writeFile} from 'node:fs/promises';
import path from 'node:path';
import {CutlayerError} from '../../protocols/errors.ts';
import {buildBinding, type NativeLibrary} from './binding.ts';
import {placeAtomically, requireSpace} from './cache.ts';
import {addCudaLibraries} from './cuda.ts';
import {type NativeWheel, nativeWheel, placeOf, unsuitableBecause} from './native-wheels.ts';
import type {OnProgress} from './progress.ts';
import {downloadWheel} from './pypi.ts';
import {extractMembers, wheelMembers} from './wheel.ts';

/** What stands in `source.json`: written last, so that a folder having it is whole. */
export type NativeSource = {readonly from: string; readonly sha256?: string; readonly cudaFolders: readonly string[]};

const sourceFile = 'source.json';

/** The library in `folder` of the cache, or undefined when it is not there or not whole. */
export function cachedLibrary(cache: string, wheel: NativeWheel): NativeLibrary | undefined {
	const folder = path.join(cache, wheel.folder);
	const file = path.join(folder, sourceFile);
	if (!existsSync(file)) return undefined;
	const source = JSON.parse(readFileSync(file, 'utf8')) as NativeSource;
	const suffix = wheel.target?.platforms.some(platform => platform.startsWith('macosx')) ? '2.dylib' : 'so.2';
	return {
		libraries: ['cc', 'framework'].map(part => path.join(folder, 'lib', `libtensorflow_${part}.${suffix}`)),
		includeFolder: path.join(folder, 'include'),
		bindingFolder: path.join(folder, 'bindings', `node-${process.versions.modules}`),
		from: source.from,
		cudaFolders: source.cudaFolders.map(relative => path.join(folder, relative)),
	};
}

/**
Makes library and binding ready in the cache and returns the binding's path; does only what is missing.
Throws `backend-missing` where TensorFlow has no build for the machine or no compiler is there, `download-failed`, or `disk`.
*/
export async function ensureNative(cache: string, wantsCuda: boolean, onProgress: OnProgress): Promise<string> {
	const wheel = nativeWheel(process.platform, process.arch, wantsCuda);
	if (!wheel) {
		throw new CutlayerError(
			'backend-missing',
			`TensorFlow${wantsCuda ? ' with CUDA' : ''} has no build for ${process.platform} ${process.arch}: use \`--backend wasm\`, or name a folder with libtensorflow in TENSORFLOW_LIB`,
		);
	}
	if (!cachedLibrary(cache, wheel)) {
		const unsuitable = unsuitableBecause();
		if (unsuitable) throw new CutlayerError('backend-missing', `${unsuitable}: use \`--backend wasm\``);
		await getLibrary(cache, wheel, onProgress);
	}
	const library = cachedLibrary(cache, wheel);
	if (!library) throw new Error(`${wheel.folder} was just placed into ${cache} and is not there`);
	return buildBinding(cache, library, onProgress);
}

async function getLibrary(cache: string, wheel: NativeWheel, onProgress: OnProgress): Promise<void> {
	await requireSpace(cache, wheel.spaceBytes, `TensorFlow ${wheel.version}`);
	await placeAtomically(cache, path.join(cache, wheel.folder), async staging => {
		const file = await downloadWheel(wheel, staging, onProgress);
		const folder = path.join(staging, 'whole');
		const targets = new Map(
			(await wheelMembers(file)).flatMap(member => {
				const place = placeOf(member.name);
				return place ? [[member, path.join(folder, place)] as const] : [];
			}),
		);
		await mkdir(folder);
		await extractMembers(file, targets, `Unpacking TensorFlow ${wheel.version}`, onProgress);
		const cudaFolders = wheel.hasCuda ? await addCudaLibraries(file, folder, onProgress) : [];
		const source: NativeSource = {
			from: `${wheel.name} ${wheel.version} (${path.basename(file)})`,
			...(wheel.sha256 ? {sha256: wheel.sha256} : {}),
			cudaFolders,
		};
		await writeFile(path.join(folder, sourceFile), JSON.stringify(source));
		return folder;
	});
}
