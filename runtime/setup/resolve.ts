/**
Which backend a process computes with, from what is on this machine. Looks at files only: no network, no compiler, no loading.
*/
import {existsSync} from 'node:fs';
import path from 'node:path';
import {CutlayerError} from '../../protocols/errors.ts';
import {builtBinding, findPackage, type NativeLibrary, nativeEnvironment} from './binding.ts';
import {cacheFolder} from './cache.ts';
import {hasNvidiaDriver} from './cuda.ts';
import {cachedLibrary} from './native.ts';
import {nativeWheel} from './native-wheels.ts';
import {ownLibrary} from './own-library.ts';

export type BackendKind = 'tensorflow' | 'wasm' | 'cpu';

export type ResolvedBackend = {
	readonly kind: BackendKind;
	/** The compiled binding, for `tensorflow` only. */
	readonly bindingPath?: string;
	/** Variables that must be set before the process that computes starts. */
	readonly environment: Record<string, string>;
	/** Why this one, and where it came from: a sentence for people. */
	readonly reason: string;
};

/**
The wanted backend, or without a wish native TensorFlow where it is set up and wasm elsewhere.
Throws `backend-missing` when `tensorflow` is wanted and not set up, or TENSORFLOW_LIB names a folder without it.
*/
export function resolveBackend(wanted?: BackendKind): ResolvedBackend {
	if (wanted === 'cpu') return {kind: 'cpu', environment: {}, reason: 'plain JavaScript was asked for'};
	if (wanted === 'wasm') return {kind: 'wasm', environment: {}, reason: 'WebAssembly was asked for'};
	const native = findNative();
	if (native) return native;
	const missing = `native TensorFlow ${process.env.TENSORFLOW_LIB ? 'has no binding for TENSORFLOW_LIB yet' : 'is not set up'}`;
	if (wanted === 'tensorflow') {
		throw new CutlayerError('backend-missing', `Expected native TensorFlow, but ${missing}: run \`cutlayer setup\``);
	}
	return {kind: 'wasm', environment: {}, reason: `${missing}: run \`cutlayer setup\` for 5 to 8 times the speed`};
}

function findNative(): ResolvedBackend | undefined {
	const own = process.env.TENSORFLOW_LIB;
	const cache = cacheFolder();
	const candidates = own ? [ownLibrary(cache, own)] : cachedLibraries(cache);
	for (const library of candidates) {
		const built = builtBinding(library.bindingFolder);
		if (!built) continue;
		return {
			kind: 'tensorflow',
			bindingPath: built.bindingPath,
			environment: nativeEnvironment(library.cudaFolders),
			reason: `TensorFlow ${built.facts.tensorflowVersion} from ${library.from}`,
		};
	}
	return own ? undefined : installedBinding();
}

/** With CUDA first where a driver runs; without one the plain build first. */
function cachedLibraries(cache: string): NativeLibrary[] {
	const order = hasNvidiaDriver() ? [true, false] : [false, true];
	return order.flatMap(withCuda => {
		const wheel = nativeWheel(process.platform, process.arch, withCuda);
		const library = wheel && cachedLibrary(cache, wheel);
		return library ? [library] : [];
	});
}

/** The binding that `@tensorflow/tfjs-node-gpu` installs itself where its install script may run and reach its host. */
function installedBinding(): ResolvedBackend | undefined {
	const folder = findPackage('@tensorflow/tfjs-node-gpu');
	const bindingPath = folder && path.join(folder, 'lib', 'napi-v8', 'tfjs_binding.node');
	if (!bindingPath || !existsSync(bindingPath)) return undefined;
	return {
		kind: 'tensorflow',
		bindingPath,
		environment: nativeEnvironment([]),
		reason: 'TensorFlow as @tensorflow/tfjs-node-gpu installed it',
	};
}
