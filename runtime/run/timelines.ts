/**
Reads who was here at what speed from a CSV file with the columns client, fromMs, toMs and speed, for the fleet profile
`trace:<csv>`. Gaps, overlaps and times that run backwards are refused with their line.
*/
import {readFile} from 'node:fs/promises';
import {parse} from 'csv-parse/sync';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import type {Timeline} from '../../protocols/fleet.ts';

const columns = ['client', 'fromMs', 'toMs', 'speed'] as const;

type Row = {
	readonly line: number;
	readonly client: string;
	readonly fromMs: number;
	readonly toMs: number;
	readonly speed: number;
};
type Parsed = {readonly record: Readonly<Record<string, string>>; readonly info: {readonly lines: number}};

const header = 'client,fromMs,toMs,speed';

/** The timeline of each client in the file; its last row lasts. Throws `data-invalid` with path, line and fix. */
export async function readTimelines(path: string): Promise<Record<string, Timeline>> {
	const timelines: Record<string, Timeline> = {};
	const ends = new Map<string, number>();
	for (const {line, client, fromMs, toMs, speed} of await rowsOf(path)) {
		const endMs = ends.get(client) ?? 0;
		if (fromMs !== endMs) throw invalid(path, line, ...sequenceProblem(client, fromMs, endMs, ends.has(client)));
		if (toMs <= fromMs)
			throw invalid(
				path,
				line,
				`expected toMs after fromMs ${fromMs}, got ${toMs}`,
				'swap the two or leave the row out',
			);
		ends.set(client, toMs);
		timelines[client] = [...(timelines[client] ?? []), {atMs: fromMs, speed}];
	}
	return timelines;
}

function sequenceProblem(client: string, fromMs: number, endMs: number, isLater: boolean): [string, string] {
	if (!isLater)
		return [`expected client ${client} to begin at 0, got ${fromMs}`, 'add a row with speed 0 if it was away'];
	if (fromMs > endMs)
		return [
			`a gap: client ${client} is not described from ${endMs} to ${fromMs}`,
			'add a row for it, with speed 0 if the client was away',
		];
	return [`client ${client} goes back from ${endMs} to ${fromMs}`, 'put its rows in order without overlaps'];
}

async function rowsOf(path: string): Promise<Row[]> {
	const parsed = parsedRows(path, await textOf(path));
	if (parsed.length === 0) throw invalid(path, 1, 'expected rows, found none', `begin the file with ${header}`);
	return parsed.map(({record, info}) => {
		const client = record.client ?? '';
		if (!/^c(0|[1-9]\d*)$/.test(client))
			throw invalid(path, info.lines, `expected a client c0, c1, ..., got ${JSON.stringify(client)}`, 'correct the id');
		const [fromMs, toMs, speed] = columns.slice(1).map(name => numberOf(path, info.lines, name, record[name]));
		return {line: info.lines, client, fromMs: fromMs!, toMs: toMs!, speed: speed!};
	});
}

async function textOf(path: string): Promise<string> {
	try {
		return await readFile(path, 'utf8');
	} catch (error) {
		throw new CutlayerError('data-invalid', `Cannot read the fleet's trace ${path}: ${errorText(error)}`);
	}
}

function parsedRows(path: string, text: string): Parsed[] {
	const found = text.split(/\r?\n/, 1)[0]!.trim();
	if (found !== header)
		throw invalid(path, 1, `expected the columns ${header}, got ${found.slice(0, 80)}`, 'correct the first line');
	try {
		return parse(text, {columns: true, info: true, skip_empty_lines: true, trim: true}) as unknown as Parsed[];
	} catch (error) {
		const {lines = 1} = error as {lines?: number};
		throw invalid(path, lines, errorText(error), 'give each row four values');
	}
}

function numberOf(path: string, line: number, name: string, text = ''): number {
	const value = Number(text);
	if (text !== '' && Number.isFinite(value) && value >= 0) return value;
	throw invalid(path, line, `expected ${name} to be a number from 0 on, got ${JSON.stringify(text)}`, 'correct it');
}

const invalid = (path: string, line: number, problem: string, fix: string) =>
	new CutlayerError('data-invalid', `${path}, line ${line}: ${problem}; ${fix}`);
