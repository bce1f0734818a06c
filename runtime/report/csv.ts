/**
The metrics of a run as CSV (RFC 4180): a line a row, a column a field. Pure.
*/
import type {Row} from './read.ts';

/** All rows; columns in order of their first appearance, empty where a row has no such field. */
export function csvOf(rows: readonly Row[]): string {
	const columns = [...new Set(rows.flatMap(row => Object.keys(row)))];
	const lines = [columns, ...rows.map(row => columns.map(column => row[column]))];
	return lines.map(cells => `${cells.map(cellOf).join(',')}\r\n`).join('');
}

function cellOf(value: unknown): string {
	if (value === undefined || value === null) return '';
	const text = String(value);
	return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
