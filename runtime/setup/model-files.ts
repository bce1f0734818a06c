/**
What makes a folder a whole model: its configuration and every weight file it speaks of.
*/
import {existsSync, readdirSync, readFileSync} from 'node:fs';
import path from 'node:path';
import {CutlayerError} from '../../protocols/errors.ts';

/** Names the weight files of a model that has several. */
export const shardIndex = 'model.safetensors.index.json';

/** True when a folder has config.json and every safetensors file its index names, or any where there is no index. */
export function isWholeModel(folder: string): boolean {
	if (!existsSync(path.join(folder, 'config.json'))) return false;
	const index = path.join(folder, shardIndex);
	if (existsSync(index))
		return shardsOf(readFileSync(index, 'utf8')).every(shard => existsSync(path.join(folder, shard)));
	return readdirSync(folder).some(name => name.endsWith('.safetensors'));
}

/** The files an index names. Throws `weights-invalid` when one lies outside the model's folder. */
export function shardsOf(index: string): string[] {
	const {weight_map: weightMap} = JSON.parse(index) as {weight_map: Record<string, string>};
	const shards = [...new Set(Object.values(weightMap))];
	const stray = shards.find(shard => path.basename(shard) !== shard);
	if (stray === undefined) return shards;
	throw new CutlayerError('weights-invalid', `Expected plain file names in ${shardIndex}, found ${stray}`);
}
