/**
What a report is made from: `config.json`, `metrics.jsonl` and `summary.json` of a run folder. It reads them and nothing else.
*/
import {readFile} from 'node:fs/promises';
import {join} from 'node:path';
import {CutlayerError, errorText} from '../../protocols/errors.ts';

/** A row of `metrics.jsonl`. */
export type Row = {
	readonly kind: string;
	/** Milliseconds since the run began. */
	readonly timeMs: number;
	readonly [field: string]: unknown;
};

/** A JSON object whose fields may be of another version: nothing is taken for granted. */
export type Json = {readonly [field: string]: unknown};

/** Seconds as the devices and links of a scenario say, beside those measured. */
export type Beside = {readonly predicted: number; readonly measured: number};

/** Of a run by the wall clock that imposed its devices: of the whole, of the end of each round, of the passes of each role. */
export type Comparison = {
	readonly run: Beside;
	readonly rounds: readonly (Beside & {readonly round: number})[];
	readonly passes: Readonly<Record<string, Beside>>;
};

export type RecordedRun = {
	readonly folder: string;
	readonly config: Json;
	readonly rows: readonly Row[];
	/** Absent while the run goes on, and for one that was killed. */
	readonly summary: Json | undefined;
};

/** Reads a run folder. Throws `usage` when it is none, `data-invalid` when one of its files is damaged. */
export async function readRecordedRun(folder: string): Promise<RecordedRun> {
	const config = await readObject(join(folder, 'config.json'));
	if (!config)
		throw new CutlayerError('usage', `Expected ${folder} to be the folder of a run, found no config.json in it`);
	const rows = await readRows(join(folder, 'metrics.jsonl'));
	return {folder, config, rows, summary: await readObject(join(folder, 'summary.json'))};
}

/** The value at a path such as `scenario.lora.rank`, or nothing. */
export const valueAt = (json: Json | undefined, path: string): unknown =>
	path.split('.').reduce<unknown>((at, key) => (isObject(at) ? at[key] : undefined), json);

/** A finite number of a row or object; 0 when it has none. */
export const numberAt = (json: Json | undefined, path: string): number => {
	const value = valueAt(json, path);
	return typeof value === 'number' && Number.isFinite(value) ? value : 0;
};

const isObject = (value: unknown): value is Json =>
	typeof value === 'object' && value !== null && !Array.isArray(value);

/** The text of a file; nothing when it is absent. */
async function textOf(path: string): Promise<string | undefined> {
	try {
		return await readFile(path, 'utf8');
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
		throw new CutlayerError('usage', `Cannot read ${path}: ${errorText(error)}`, {cause: error});
	}
}

async function readObject(path: string): Promise<Json | undefined> {
	const text = await textOf(path);
	return text === undefined ? undefined : parsed(text, path);
}

/** All whole rows. A last line without its end was cut off by the end of the run and is left out. */
async function readRows(path: string): Promise<Row[]> {
	const lines = ((await textOf(path)) ?? '').split('\n').slice(0, -1);
	return lines.map((line, index) => {
		const row = parsed(line, `${path} line ${index + 1}`);
		if (typeof row.kind === 'string' && typeof row.timeMs === 'number') return row as Row;
		throw new CutlayerError('data-invalid', `Expected ${path} line ${index + 1} to have \`kind\` and \`timeMs\``);
	});
}

function parsed(text: string, where: string): Json {
	let value: unknown;
	try {
		value = JSON.parse(text);
	} catch (error) {
		throw new CutlayerError('data-invalid', `Expected ${where} to be JSON: ${errorText(error)}`, {cause: error});
	}
	if (isObject(value)) return value;
	throw new CutlayerError('data-invalid', `Expected ${where} to be a JSON object`);
}
