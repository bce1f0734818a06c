/**
Where a base model's files are: a path, our cache, Hugging Face's cache. Only `ensureModel` goes to the network.
*/
import {existsSync, readdirSync, readFileSync, statSync} from 'node:fs';
import {homedir} from 'node:os';
import path from 'node:path';
import {CutlayerError} from '../../protocols/errors.ts';
import {cacheFolder} from './cache.ts';
import {downloadModel} from './hub.ts';
import {isWholeModel} from './model-files.ts';
import {ensurePackagedModel, packagedModel, packagedModelFile} from './packaged-model.ts';
import type {OnProgress} from './progress.ts';

export type ModelFiles = {
	/** `folder` holds config.json, safetensors and tokenizer.json; `gguf` is one file. */
	readonly kind: 'folder' | 'gguf';
	readonly path: string;
	/** Where it came from, for people. */
	readonly from: string;
};

/** The model of the quickstart and the scenarios. */
export const defaultModel = packagedModel.name;

const hubName = /^[\w.-]+\/[\w.-]+$/;

/**
The files of a model that is on this machine; undefined for a known name that is not here yet.
@param nameOrPath a folder, a `.gguf` file, `smollm2-135m`, or a name `organisation/model` of the hub
@throws `model-unsupported` when it is none of these
*/
export function resolveModel(nameOrPath: string): ModelFiles | undefined {
	const atPath = modelAt(nameOrPath);
	if (atPath) return atPath;
	if (nameOrPath === packagedModel.name) {
		const file = packagedModelFile(cacheFolder());
		return file ? {kind: 'gguf', path: file, from: `the wheel ${packagedModel.wheel.name} in the cache`} : undefined;
	}
	if (!hubName.test(nameOrPath) || nameOrPath.startsWith('.')) {
		throw new CutlayerError(
			'model-unsupported',
			`Expected a model folder with config.json, a .gguf file, \`${packagedModel.name}\` or a name \`organisation/model\`, found \`${nameOrPath}\``,
		);
	}
	const own = hubFolder(nameOrPath);
	if (isWholeModel(own)) return {kind: 'folder', path: own, from: 'the hub, in the cache'};
	const shared = huggingFaceSnapshot(nameOrPath);
	return shared ? {kind: 'folder', path: shared, from: "Hugging Face's cache"} : undefined;
}

/** The files of a model, downloaded when they are not on this machine. Throws `download-failed` or `model-unsupported`. */
export async function ensureModel(nameOrPath: string, onProgress: OnProgress): Promise<ModelFiles> {
	const found = resolveModel(nameOrPath);
	if (found) return found;
	if (nameOrPath === packagedModel.name) await ensurePackagedModel(cacheFolder(), onProgress);
	else await downloadModel(nameOrPath, hubFolder(nameOrPath), onProgress);
	const got = resolveModel(nameOrPath);
	if (got) return got;
	throw new Error(`The model ${nameOrPath} was just downloaded and is not there`);
}

function modelAt(place: string): ModelFiles | undefined {
	const stats = statSync(place, {throwIfNoEntry: false});
	if (stats?.isFile() && place.endsWith('.gguf')) return {kind: 'gguf', path: path.resolve(place), from: 'its path'};
	if (stats?.isDirectory() && isWholeModel(place)) return {kind: 'folder', path: path.resolve(place), from: 'its path'};
	return undefined;
}

const hubFolder = (name: string): string => path.join(cacheFolder(), 'models', name.replace('/', '--'));

function huggingFaceSnapshot(name: string): string | undefined {
	const {HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, HOME} = process.env;
	const home = HF_HOME ?? path.join(XDG_CACHE_HOME ?? path.join(HOME ?? homedir(), '.cache'), 'huggingface');
	const folder = path.join(HF_HUB_CACHE ?? path.join(home, 'hub'), `models--${name.replace('/', '--')}`);
	const snapshots = path.join(folder, 'snapshots');
	if (!existsSync(snapshots)) return undefined;
	const main = path.join(folder, 'refs', 'main');
	const first = existsSync(main) ? [readFileSync(main, 'utf8').trim()] : [];
	return [...first, ...readdirSync(snapshots)].map(commit => path.join(snapshots, commit)).find(isWholeModel);
}
