/**
The numbers of a report: sums and series over the rows of a run. Pure.
*/
import {numberAt, type RecordedRun, type Row, valueAt} from './read.ts';

/** One step of one client; `step` counts that client's steps from 1, `seconds` from the beginning of the run. */
export type StepPoint = {
	readonly client: string;
	readonly step: number;
	readonly seconds: number;
	readonly loss: number;
	readonly tokens: number;
};

/** One measurement of the validation loss; `version` is the number of aggregations before it. */
export type EvaluationPoint = {readonly version: number; readonly loss: number; readonly perplexity: number};

export type ClientFigures = {
	readonly client: string;
	readonly steps: number;
	readonly tokens: number;
	readonly lossFirst: number;
	readonly lossLast: number;
	readonly bytesUp: number;
	readonly bytesDown: number;
	readonly stalenessMean: number;
};

/** Tokens a second of all clients between two times, in seconds. */
export type RateSlot = {readonly from: number; readonly to: number; readonly tokensPerSecond: number};

/** How many steps had this server staleness. */
export type StalenessCount = {readonly staleness: number; readonly steps: number};

export type Figures = {
	readonly status: string;
	readonly reason: string;
	readonly seconds: number;
	readonly rounds: number;
	readonly roundsVoid: number;
	readonly steps: readonly StepPoint[];
	readonly evaluations: readonly EvaluationPoint[];
	/** In order of their names. */
	readonly clients: readonly ClientFigures[];
	readonly rates: readonly RateSlot[];
	readonly staleness: readonly StalenessCount[];
	readonly tokens: number;
	readonly bytesUp: number;
	readonly bytesDown: number;
	/** Refused messages by reason. */
	readonly dropped: readonly (readonly [reason: string, count: number])[];
};

const rateSlotsMax = 40;

/** The figures of a run; without `summary.json` they are those of the rows so far. */
export function figuresOf({rows, summary}: RecordedRun): Figures {
	const stepRows = rows.filter(row => row.kind === 'step');
	const roundRows = rows.filter(row => row.kind === 'round');
	const byClient = groupByClient(stepRows);
	const seconds = numberAt(summary, 'seconds') || lastSecond(rows);
	return {
		status: String(summary?.status ?? 'not finished'),
		reason: String(summary?.reason ?? 'no summary.json: the run still goes on, or was killed'),
		seconds,
		rounds: roundRows.length,
		roundsVoid: roundRows.filter(row => row.isVoid === true).length,
		steps: byClient.flatMap(([client, own]) => own.map((row, index) => stepPoint(client, row, index))),
		evaluations: rows.filter(row => row.kind === 'eval').map(evaluationPoint),
		clients: byClient.map(([client, own]) => clientFigures(client, own)),
		rates: ratesOf(stepRows),
		staleness: stalenessOf(stepRows),
		tokens: sum(stepRows, 'tokens'),
		bytesUp: sum(stepRows, 'bytesUp'),
		bytesDown: sum(stepRows, 'bytesDown'),
		dropped: droppedOf(valueAt(summary, 'dropped')),
	};
}

const clientOf = (row: Row): string => String(row.client ?? row.actor ?? '?');
const sum = (rows: readonly Row[], field: string) => rows.reduce((total, row) => total + numberAt(row, field), 0);
const lastSecond = (rows: readonly Row[]) => rows.reduce((last, row) => Math.max(last, row.timeMs), 0) / 1000;

function groupByClient(rows: readonly Row[]): [client: string, own: Row[]][] {
	const groups = new Map<string, Row[]>();
	for (const row of rows) {
		const own = groups.get(clientOf(row));
		if (own) own.push(row);
		else groups.set(clientOf(row), [row]);
	}
	return [...groups].sort(([a], [b]) => a.localeCompare(b, 'en', {numeric: true}));
}

const stepPoint = (client: string, row: Row, index: number): StepPoint => ({
	client,
	step: index + 1,
	seconds: row.timeMs / 1000,
	loss: numberAt(row, 'loss'),
	tokens: numberAt(row, 'tokens'),
});

const evaluationPoint = (row: Row): EvaluationPoint => ({
	version: numberAt(row, 'adapterVersion'),
	loss: numberAt(row, 'loss'),
	perplexity: numberAt(row, 'perplexity'),
});

const clientFigures = (client: string, rows: readonly Row[]): ClientFigures => ({
	client,
	steps: rows.length,
	tokens: sum(rows, 'tokens'),
	lossFirst: numberAt(rows.at(0), 'loss'),
	lossLast: numberAt(rows.at(-1), 'loss'),
	bytesUp: sum(rows, 'bytesUp'),
	bytesDown: sum(rows, 'bytesDown'),
	stalenessMean: sum(rows, 'serverStaleness') / rows.length,
});

/** Slots of equal length from the beginning of the run to its last step. */
function ratesOf(rows: readonly Row[]): RateSlot[] {
	const last = lastSecond(rows);
	const clients = new Set(rows.map(clientOf)).size;
	// About one slot a step of all clients: finer ones would only show when steps end.
	const count = Math.max(1, Math.min(rateSlotsMax, Math.floor(rows.length / Math.max(1, clients))));
	if (last === 0) return [];
	const width = last / count;
	const tokens = new Array<number>(count).fill(0);
	for (const row of rows) {
		const slot = Math.min(count - 1, Math.floor(row.timeMs / 1000 / width));
		tokens[slot] = tokens[slot]! + numberAt(row, 'tokens');
	}
	return tokens.map((inSlot, slot) => ({from: slot * width, to: (slot + 1) * width, tokensPerSecond: inSlot / width}));
}

function stalenessOf(rows: readonly Row[]): StalenessCount[] {
	const counts = new Map<number, number>();
	for (const row of rows) {
		const staleness = numberAt(row, 'serverStaleness');
		counts.set(staleness, (counts.get(staleness) ?? 0) + 1);
	}
	return [...counts].map(([staleness, steps]) => ({staleness, steps})).sort((a, b) => a.staleness - b.staleness);
}

const droppedOf = (dropped: unknown): [string, number][] =>
	Object.entries((dropped ?? {}) as Record<string, unknown>).map(([reason, count]) => [reason, Number(count)]);
