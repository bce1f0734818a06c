/**
The real model for tests: the file named by CUTLAYER_TEST_GGUF, else what `setup` put in the cache. Tests that need it are skipped without.
*/
import {existsSync} from 'node:fs';
import test from 'ava';
import {defaultModel, resolveModel} from '../../runtime/setup/model.ts';

export const smollm2Path: string | undefined = [process.env.CUTLAYER_TEST_GGUF, resolveModel(defaultModel)?.path].find(
	path => path && existsSync(path),
);

/** A test that is skipped, and reported so, on a machine without the model. */
export const testWithModel = smollm2Path ? test : test.skip;
