/**
Reads rows from the file formats of users: CSV with meanings and sentences, JSON lines with prompts and completions, plain text.
*/
import {CsvError, parse} from 'csv-parse/sync';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import type {Row} from './row.ts';
import {readTextFile} from './text-file.ts';

/** `rowsMax`: rows from the start of the file; default all. */
export type CorpusOptions = {readonly rowsMax?: number | undefined};

/** Pairs of columns or keys, and what a row of them is. */
const columnPairs = [
	{source: 'mr', target: 'ref', kind: 'meaning'},
	{source: 'prompt', target: 'completion', kind: 'pair'},
] as const;

/**
A CSV file with a header: columns `mr` and `ref` (E2E), or `prompt` and `completion`; others are ignored.
Throws `data-invalid` naming what was found and expected.
*/
export async function readCsv(path: string, {rowsMax}: CorpusOptions = {}): Promise<Row[]> {
	const text = await readTextFile(path);
	const records = parseCsv(path, text, rowsMax);
	const header = records[0]!.map(name => name.trim());
	const pair = columnPairs.find(({source, target}) => header.includes(source) && header.includes(target));
	if (!pair) {
		throw invalid(
			path,
			`has the columns ${header.join(', ')}; expected ${namesOf('mr', 'ref')} or ${namesOf('prompt', 'completion')}; rename the columns`,
		);
	}
	const [source, target] = [header.indexOf(pair.source), header.indexOf(pair.target)];
	const rows = records.slice(1).map((record, index): Row => {
		if (record[target]!.trim() === '')
			throw invalid(path, `has an empty \`${pair.target}\` in row ${index + 1} after the header`);
		return {kind: pair.kind, source: record[source]!, target: record[target]!};
	});
	return nonEmpty(path, rows);
}

/** JSON lines: an object a line with the strings `prompt` and `completion`, or `mr` and `ref`. Throws `data-invalid` with the line. */
export async function readJsonLines(
	path: string,
	{rowsMax = Number.POSITIVE_INFINITY}: CorpusOptions = {},
): Promise<Row[]> {
	const rows: Row[] = [];
	for (const [index, line] of (await readTextFile(path)).split('\n').entries()) {
		if (rows.length >= rowsMax) break;
		if (line.trim() !== '') rows.push(rowOfLine(path, line, index + 1));
	}
	return nonEmpty(path, rows);
}

/** Plain text: every paragraph, ended by an empty line, is a row. Throws `data-invalid` for an empty file. */
export async function readPlainText(path: string, {rowsMax}: CorpusOptions = {}): Promise<Row[]> {
	const paragraphs = (await readTextFile(path)).replaceAll('\r\n', '\n').split(/\n[^\S\n]*(?:\n[^\S\n]*)+/);
	const texts = paragraphs.map(paragraph => paragraph.trim()).filter(paragraph => paragraph !== '');
	return texts.slice(0, rowsMax).map(target => ({kind: 'text', source: '', target}));
}

function parseCsv(path: string, text: string, rowsMax: number | undefined): string[][] {
	try {
		return parse(text, {skip_empty_lines: true, ...(rowsMax === undefined ? {} : {to: rowsMax + 1})});
	} catch (error) {
		if (!(error instanceof CsvError)) throw error;
		throw new CutlayerError(
			'data-invalid',
			`${path} is not a CSV file: ${error.message}; quote fields that hold commas, quotes or line ends`,
			{cause: error},
		);
	}
}

function rowOfLine(path: string, line: string, number: number): Row {
	let value: Record<string, unknown>;
	try {
		value = JSON.parse(line);
	} catch (error) {
		throw invalid(path, `has no JSON in line ${number}: ${errorText(error)}; correct or remove the line`);
	}
	const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
	const pair =
		isObject && columnPairs.find(({source, target}) => Object.hasOwn(value, source) && Object.hasOwn(value, target));
	if (!pair) {
		const found = isObject ? `the keys ${Object.keys(value).join(', ') || '(none)'}` : 'no object';
		throw invalid(
			path,
			`has ${found} in line ${number}; expected ${namesOf('prompt', 'completion')} or ${namesOf('mr', 'ref')}; rename the keys`,
		);
	}
	const {[pair.source]: source, [pair.target]: target} = value;
	if (typeof source !== 'string' || typeof target !== 'string' || target === '') {
		throw invalid(
			path,
			`needs texts in ${namesOf(pair.source, pair.target)} of line ${number}, and a \`${pair.target}\` that is not empty; correct or remove the line`,
		);
	}
	return {kind: pair.kind, source, target};
}

function nonEmpty(path: string, rows: Row[]): Row[] {
	if (rows.length > 0) return rows;
	throw invalid(path, 'has no rows; expected at least one, name a file with rows');
}

const namesOf = (first: string, second: string) => `\`${first}\` and \`${second}\``;

const invalid = (path: string, complaint: string) => new CutlayerError('data-invalid', `${path} ${complaint}`);
