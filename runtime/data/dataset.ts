/**
The rows of a run: what to train on and the fixed rows whose loss is measured.
*/
import {stat} from 'node:fs/promises';
import {join} from 'node:path';
import {CutlayerError} from '../../protocols/errors.ts';
import {randomStream} from '../random.ts';
import {readCsv, readJsonLines, readPlainText} from './corpus.ts';
import {restaurantRows} from './restaurants.ts';
import type {Row} from './row.ts';

export type DatasetOptions = {
	/** `restaurants` needs no path; `e2e` is the folder with the official files, or one of them. */
	readonly kind: 'restaurants' | 'e2e' | 'csv' | 'jsonl' | 'text';
	readonly path?: string | undefined;
	/** Training rows, from the start; default all. */
	readonly rows?: number | undefined;
	readonly validationRows: number;
};

export type Dataset = {readonly train: Row[]; readonly validation: Row[]};

/**
Reads the rows. The E2E folder has validation rows of its own, the first of `devset.csv`; of other data some rows are set apart.
Throws `data-invalid`.
*/
export async function openDataset({kind, path = '', rows, validationRows}: DatasetOptions): Promise<Dataset> {
	if (kind === 'e2e' && (await isFolder(path))) {
		const train = await readCsv(join(path, 'trainset.csv'), {rowsMax: rows});
		const validation = validationRows > 0 ? await readCsv(join(path, 'devset.csv'), {rowsMax: validationRows}) : [];
		return {train, validation};
	}
	const {train, validation} = splitValidation(await readRows(kind, path), validationRows);
	if (train.length > 0) return {train: train.slice(0, rows), validation};
	throw new CutlayerError(
		'data-invalid',
		`${path} leaves no rows to train on after ${validation.length} for validation; give more rows or lower data.validationRows`,
	);
}

/**
Sets at least `count` rows apart. Which ones depends on their content alone, so they stay the same from run to run; rows with
the same source, such as several sentences for one meaning, stay together.
*/
export function splitValidation(rows: readonly Row[], count: number): Dataset {
	const groups = new Map<string, Row[]>();
	for (const row of rows) {
		const key = row.source || row.target;
		const group = groups.get(key);
		if (group) group.push(row);
		else groups.set(key, [row]);
	}
	const ranked = [...groups].map(([key, members]) => ({key, members, rank: randomStream('validation', key).float()}));
	ranked.sort((a, b) => a.rank - b.rank);
	const chosen = new Set<Row>();
	for (const {members} of ranked) {
		if (chosen.size >= count) break;
		for (const row of members) chosen.add(row);
	}
	return {train: rows.filter(row => !chosen.has(row)), validation: rows.filter(row => chosen.has(row))};
}

function readRows(kind: DatasetOptions['kind'], path: string): Promise<Row[]> {
	switch (kind) {
		case 'restaurants':
			return Promise.resolve(restaurantRows());
		case 'jsonl':
			return readJsonLines(path);
		case 'text':
			return readPlainText(path);
		default:
			return readCsv(path);
	}
}

const isFolder = async (path: string) => (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
