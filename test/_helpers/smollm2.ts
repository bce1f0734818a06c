/**
Where the real model is on this machine: the file named by CUTLAYER_TEST_GGUF, else what `setup` put in the cache. Usable outside AVA.
*/
import {existsSync} from 'node:fs';
import {defaultModel, resolveModel} from '../../runtime/setup/model.ts';

export const smollm2Path: string | undefined = [process.env.CUTLAYER_TEST_GGUF, resolveModel(defaultModel)?.path].find(
	path => path && existsSync(path),
);
