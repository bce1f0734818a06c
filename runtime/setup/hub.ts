/**
A model from a hub that speaks Hugging Face's file addresses: configuration, tokenizer and safetensors of one commit.
*/
import {mkdir, readFile, rename, rm} from 'node:fs/promises';
import path from 'node:path';
import {CutlayerError} from '../../protocols/errors.ts';
import {requireSpace} from './cache.ts';
import {describeRemote, downloadFile, type RemoteFile} from './http-file.ts';
import {shardIndex, shardsOf} from './model-files.ts';
import type {OnProgress} from './progress.ts';

type NamedFile = RemoteFile & {readonly name: string};

/** The hub's address: `HF_ENDPOINT`, else Hugging Face. */
const endpoint = (): string => (process.env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '');

/**
Downloads the model `name` (`organisation/model`) into `folder`, which appears only when every file is there and right.
What an interrupted download left in `folder.part` is used again. Throws `download-failed` or `disk`.
*/
export async function downloadModel(name: string, folder: string, onProgress: OnProgress): Promise<void> {
	if (process.env.HF_HUB_OFFLINE === '1') {
		throw new CutlayerError(
			'download-failed',
			`${name} is not on this machine and HF_HUB_OFFLINE=1 forbids the network`,
		);
	}
	onProgress({what: `Asking ${endpoint()} for ${name}`});
	const {commit} = await need(name, 'main', 'config.json');
	const part = `${folder}.part`;
	const files = await listFiles(name, commit ?? 'main', part);
	await mkdir(part, {recursive: true});
	await requireSpace(
		part,
		files.reduce((sum, file) => sum + file.sizeBytes, 0),
		name,
	);
	for (const file of files) await downloadFile(file, path.join(part, file.name), onProgress);
	await rm(folder, {recursive: true, force: true});
	await rename(part, folder);
}

async function listFiles(name: string, revision: string, part: string): Promise<NamedFile[]> {
	const needed = [await need(name, revision, 'config.json'), await need(name, revision, 'tokenizer.json')];
	const tokenizerConfig = await describe(name, revision, 'tokenizer_config.json');
	const single = await describe(name, revision, 'model.safetensors');
	const weights = single ? [single] : await listShards(name, revision, part);
	return [...needed, ...(tokenizerConfig ? [tokenizerConfig] : []), ...weights];
}

async function listShards(name: string, revision: string, part: string): Promise<NamedFile[]> {
	const index = await need(name, revision, shardIndex);
	const file = path.join(part, shardIndex);
	await downloadFile(index, file, () => undefined);
	const shards = shardsOf(await readFile(file, 'utf8'));
	return Promise.all(shards.map(shard => need(name, revision, shard)));
}

async function describe(name: string, revision: string, file: string): Promise<NamedFile | undefined> {
	const remote = await describeRemote(`${endpoint()}/${name}/resolve/${revision}/${file}`);
	return remote && {...remote, name: file};
}

async function need(name: string, revision: string, file: string): Promise<NamedFile> {
	const found = await describe(name, revision, file);
	if (found) return found;
	throw new CutlayerError(
		'download-failed',
		`Expected ${file} in the model ${name} at ${endpoint()}, found none: check the name; models with safetensors and tokenizer.json can be read`,
	);
}
