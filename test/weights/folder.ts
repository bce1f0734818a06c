/**
A temporary folder that is gone after its test, and the paths of the golden files.
*/
import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import type {ExecutionContext} from 'ava';

export const golden = (path: string): string => fileURLToPath(new URL(`../golden/${path}`, import.meta.url));

export async function temporaryFolder(t: ExecutionContext): Promise<string> {
	const folder = await mkdtemp(join(tmpdir(), 'cutlayer-test-'));
	t.teardown(() => rm(folder, {recursive: true, force: true}));
	return folder;
}
