/**
Reads `metrics.jsonl` back, and cuts it to the rows a checkpoint knows.
*/
import {readFile} from 'node:fs/promises';
import {replaceFile} from './folder.ts';
import type {MetricsRow} from './recorder.ts';

/** All whole rows of a file; a torn last line is left out. An absent file has none. */
export async function readRows(path: string): Promise<MetricsRow[]> {
	const text = await readFile(path, 'utf8').catch(() => '');
	const lines = text.split('\n').slice(0, -1);
	return lines.map(line => JSON.parse(line) as MetricsRow);
}

/** Keeps the first `count` rows of the file and returns them. */
export async function keepRows(path: string, count: number): Promise<MetricsRow[]> {
	const rows = (await readRows(path)).slice(0, count);
	await replaceFile(path, rows.map(row => `${JSON.stringify(row)}\n`).join(''));
	return rows;
}
