/**
Which kind of rows a file holds, by its name.
*/
import {extname} from 'node:path';
import {CutlayerError} from '../../protocols/errors.ts';

const kinds: Readonly<Record<string, 'csv' | 'jsonl' | 'text'>> = {'.csv': 'csv', '.jsonl': 'jsonl', '.txt': 'text'};

/** The kind of a file of rows by its ending. Throws `data-invalid`. */
export function rowsKindOf(path: string): 'csv' | 'jsonl' | 'text' {
	const kind = kinds[extname(path).toLowerCase()];
	if (kind) return kind;
	throw new CutlayerError(
		'data-invalid',
		`Expected a .csv, .jsonl or .txt file with rows, found ${path}; convert it, or name another with --data`,
	);
}
