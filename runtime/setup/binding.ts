/**
The compiled bridge between TensorFlow.js and TensorFlow's library: one call of the C++ compiler, then one product computed in a
process of its own. Only a binding that computed it gets its final name.
*/
import {existsSync, readFileSync} from 'node:fs';
import {mkdir, writeFile} from 'node:fs/promises';
import {createRequire} from 'node:module';
import path from 'node:path';
import {CutlayerError} from '../../protocols/errors.ts';
import {type Environment, placeAtomically} from './cache.ts';
import {findProgram, runCommand} from './command.ts';
import type {OnProgress} from './progress.ts';

/** A folder with TensorFlow's library and headers, and a place for bindings built against them. */
export type NativeLibrary = {
	/** The library files the binding is linked with. */
	readonly libraries: readonly string[];
	readonly includeFolder: string;
	/** Where the binding for this Node is or will be. */
	readonly bindingFolder: string;
	/** Where the library came from, for people. */
	readonly from: string;
	/** Folders of CUDA libraries, for LD_LIBRARY_PATH. */
	readonly cudaFolders: readonly string[];
};

/** What a built binding is known to be; `binding.json` beside it. */
export type BindingFacts = {readonly tensorflowVersion: string; readonly compiler: string};

const bindingName = 'tfjs_binding.node';
const factsName = 'binding.json';
const sources = ['tfjs_backend.cc', 'tfjs_binding.cc'];

/** The folder of an installed package, or undefined. */
export function findPackage(name: string): string | undefined {
	try {
		return path.dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));
	} catch {
		return undefined;
	}
}

function packageFolder(name: string): string {
	const folder = findPackage(name);
	if (folder) return folder;
	throw new CutlayerError('backend-missing', `Expected the package ${name}, found none: run \`npm install\` again`);
}

/** A binding that was built and proved for this Node, or undefined. */
export function builtBinding(bindingFolder: string): {bindingPath: string; facts: BindingFacts} | undefined {
	const factsPath = path.join(bindingFolder, factsName);
	if (!existsSync(factsPath)) return undefined;
	const facts = JSON.parse(readFileSync(factsPath, 'utf8')) as BindingFacts;
	return {bindingPath: path.join(bindingFolder, bindingName), facts};
}

/** Compiles and proves the binding unless it is there; returns its path. Throws `backend-missing` with the compiler's or loader's words. */
export async function buildBinding(cache: string, library: NativeLibrary, onProgress: OnProgress): Promise<string> {
	const built = builtBinding(library.bindingFolder);
	if (built) return built.bindingPath;
	const compiler = findCompiler();
	onProgress({what: `Compiling the binding with ${compiler}`});
	await placeAtomically(cache, library.bindingFolder, async staging => {
		const folder = path.join(staging, 'whole');
		await mkdir(folder);
		const bindingPath = path.join(folder, bindingName);
		await compile(compiler, library, bindingPath);
		const tensorflowVersion = await proveBinding(bindingPath, nativeEnvironment(library.cudaFolders));
		await writeFile(path.join(folder, factsName), JSON.stringify({tensorflowVersion, compiler} satisfies BindingFacts));
		return folder;
	});
	return path.join(library.bindingFolder, bindingName);
}

function findCompiler(): string {
	const names = process.platform === 'darwin' ? ['clang++', 'g++', 'c++'] : ['g++', 'clang++', 'c++'];
	const compiler = findProgram(process.env.CXX ? [process.env.CXX] : names);
	if (compiler) return compiler;
	throw new CutlayerError(
		'backend-missing',
		`Expected a C++ compiler on PATH, found none of ${process.env.CXX ?? names.join(', ')}: install one (Debian: \`apt install g++\`, macOS: \`xcode-select --install\`)`,
	);
}

async function compile(compiler: string, library: NativeLibrary, bindingPath: string): Promise<void> {
	const tfjs = packageFolder('@tensorflow/tfjs-node-gpu');
	const headers = path.join(packageFolder('node-api-headers'), 'include');
	const rpaths = [...new Set(library.libraries.map(file => path.dirname(file)))];
	const result = await runCommand(compiler, [
		...['-shared', '-fPIC', '-O2', '-std=c++17', '-DNAPI_VERSION=8'],
		...[headers, library.includeFolder, tfjs].map(folder => `-I${folder}`),
		...sources.map(file => path.join(tfjs, 'binding', file)),
		...(process.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : []),
		...['-o', bindingPath, ...library.libraries, ...rpaths.map(folder => `-Wl,-rpath,${folder}`)],
	]);
	if (result.exitCode === 0) return;
	const reason = result.stderr.split('\n').find(line => line.includes('error')) ?? result.stderr.trim();
	throw new CutlayerError('backend-missing', `${compiler} could not compile the TensorFlow binding: ${reason}`);
}

const proof = `
const binding = require(process.argv[1]);
const a = binding.createTensor([2, 2], binding.TF_FLOAT, Float32Array.of(1, 2, 3, 4));
const no = name => ({name, type: binding.TF_ATTR_BOOL, value: false});
const attributes = [no('transpose_a'), no('transpose_b'), {name: 'T', type: binding.TF_ATTR_TYPE, value: binding.TF_FLOAT}];
const [product] = binding.executeOp('MatMul', attributes, [a, a], 1);
console.log(JSON.stringify({version: binding.TF_Version, product: [...binding.tensorDataSync(product.id)]}));
`;

/**
Multiplies [[1, 2], [3, 4]] by itself in a new process, since a library that does not fit the CPU ends its process.
Returns the version the library says it is; throws `backend-missing` with the loader's words.
*/
export async function proveBinding(bindingPath: string, environment: Environment): Promise<string> {
	const result = await runCommand(process.execPath, ['-e', proof, bindingPath], {environment, timeoutMs: 60_000});
	const last = result.stdout.trim().split('\n').at(-1) ?? '';
	if (result.exitCode === 0 && last.startsWith('{')) {
		const {version, product} = JSON.parse(last) as {version: string; product: number[]};
		if (product.join() === '7,10,15,22') return version;
	}
	const words = result.stderr.split('\n').find(line => line.includes('Error'));
	const reason = words?.trim() ?? result.signal ?? (last || 'it ended without a word');
	throw new CutlayerError(
		'backend-missing',
		`The TensorFlow binding at ${bindingPath} does not compute here: ${reason}`,
	);
}

/** The variables a process that computes with the binding is started with; what the user set stays. */
export function nativeEnvironment(cudaFolders: readonly string[]): Record<string, string> {
	const libraries = [...cudaFolders, process.env.LD_LIBRARY_PATH].filter(Boolean).join(':');
	return {
		TF_ENABLE_ONEDNN_OPTS: process.env.TF_ENABLE_ONEDNN_OPTS ?? '1',
		TF_CPP_MIN_LOG_LEVEL: process.env.TF_CPP_MIN_LOG_LEVEL ?? '2',
		...(cudaFolders.length > 0 ? {LD_LIBRARY_PATH: libraries} : {}),
	};
}
