/**
Where material is that is not part of the project: the E2E corpus and numbers made from its text, in the folder named by
CUTLAYER_SHARED or in `shared` beside the repository, and the real model. Usable outside AVA.
*/
import {existsSync} from 'node:fs';
import path from 'node:path';
import {defaultModel, resolveModel} from '../../runtime/setup/model.ts';

const root = path.resolve(import.meta.dirname, '../..');
const folders = [process.env.CUTLAYER_SHARED, path.join(root, '../shared'), path.join(root, '../../shared')];

/** The folder with material that is read and never committed, if this machine has it. */
export const sharedFolder: string | undefined = folders.find(
	folder => folder && existsSync(path.join(folder, 'data/e2e')),
);

/** A file or folder in it; undefined when it is not there. */
export function sharedPath(name: string): string | undefined {
	const found = sharedFolder && path.join(sharedFolder, name);
	return found && existsSync(found) ? found : undefined;
}

/** The real model for tests: the file named by CUTLAYER_TEST_GGUF, else what `setup` put in the cache. */
export const smollm2Path: string | undefined = [process.env.CUTLAYER_TEST_GGUF, resolveModel(defaultModel)?.path].find(
	file => file && existsSync(file),
);
