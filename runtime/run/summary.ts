/**
What a run came to: sums over its metrics rows, for `summary.json` and the last lines a user sees. Pure.
*/
import type {PrivacySummary} from './privacy.ts';
import type {MetricsRow} from './recorder.ts';
import {type RecoveredAtCut, type RecoveredRow, recoveredByCut} from './recovered.ts';

export type ClientSummary = {
	readonly steps: number;
	readonly tokens: number;
	readonly bytesUp: number;
	readonly bytesDown: number;
	readonly lossFirst: number;
	readonly lossLast: number;
};

/** Seconds as described and as measured here. */
export type Beside = {readonly predicted: number; readonly measured: number};

export type Comparison = {
	/** The whole run. */
	readonly run: Beside;
	/** When each round closed. */
	readonly rounds: readonly (Beside & {readonly round: number})[];
	/** The passes of all actors of a role together: on their described devices, and on this machine, which all share. */
	readonly passes: Readonly<Record<string, Beside>>;
};

export type RunSummary = {
	readonly name: string;
	readonly run: string;
	readonly status: 'done' | 'interrupted' | 'failed';
	/** Why it failed, or how to resume it. */
	readonly reason: string;
	readonly seconds: number;
	readonly rounds: number;
	readonly steps: number;
	readonly tokens: number;
	readonly tokensPerSecond: number;
	readonly bytesUp: number;
	readonly bytesDown: number;
	readonly clients: Readonly<Record<string, ClientSummary>>;
	/** Mean loss over the clients of the first and the last step that all took. */
	readonly lossFirst: number | null;
	readonly lossLast: number | null;
	readonly evaluations: readonly {
		readonly adapterVersion: number;
		readonly loss: number;
		readonly perplexity: number;
	}[];
	/** How many steps had each server and gradient staleness, and how many uploads that counted each adapter staleness. */
	readonly serverStaleness: Readonly<Record<string, number>>;
	/** How many steps had each gradient staleness. */
	readonly gradientStaleness: Readonly<Record<string, number>>;
	/** Steps that were not taken, by reason. */
	readonly stepsDropped: Readonly<Record<string, number>>;
	readonly adapterStaleness: Readonly<Record<string, number>>;
	readonly adapterStalenessMax: number;
	/** What noise was added, and the epsilon it came to; only where the scenario asks for any. */
	readonly privacy?: PrivacySummary;
	/** What probes recovered of activations, by cut; only where one measured. */
	readonly recovered?: readonly RecoveredAtCut[];
	/** Messages refused, by reason. */
	readonly dropped: Readonly<Record<string, number>>;
	/** Rows that were longer than `data.tokensMax`. */
	readonly rowsCut: number;
	/** Share of virtual time in which a role computed nothing; only in virtual time. */
	readonly idleShare?: Readonly<Record<string, number>>;
	/** Seconds as the scenario's devices and links say beside those measured; only by the wall clock with devices imposed. */
	readonly beside?: Comparison;
};

type Facts = Pick<
	RunSummary,
	'name' | 'run' | 'status' | 'reason' | 'dropped' | 'rowsCut' | 'idleShare' | 'beside' | 'privacy'
> & {
	readonly seconds: number;
};

const numberOf = (row: MetricsRow, field: string) => Number(row[field] ?? 0);
const sum = (rows: readonly MetricsRow[], field: string) =>
	rows.reduce((total, row) => total + numberOf(row, field), 0);

/** The summary of all rows so far. */
export function summarise(rows: readonly MetricsRow[], facts: Facts): RunSummary {
	const steps = rows.filter(row => row.kind === 'step');
	const rounds = rows.filter(row => row.kind === 'round');
	const byClient = groupBy(steps, row => String(row.actor));
	const tokens = sum(steps, 'tokens');
	const probed = rows.filter(row => row.kind === 'probe');
	return {
		...facts,
		rounds: rounds.length,
		steps: steps.length,
		tokens,
		tokensPerSecond: facts.seconds > 0 ? tokens / facts.seconds : 0,
		bytesUp: sum(steps, 'bytesUp'),
		bytesDown: sum(steps, 'bytesDown'),
		clients: Object.fromEntries([...byClient].map(([client, own]) => [client, clientSummary(own)])),
		lossFirst: meanLoss(byClient, own => own.at(0)),
		lossLast: meanLoss(byClient, own => own.at(-1)),
		evaluations: rows.filter(row => row.kind === 'eval').map(evaluationOf),
		serverStaleness: histogram(steps.map(row => row.serverStaleness)),
		gradientStaleness: histogram(steps.map(row => row.gradientStaleness)),
		adapterStaleness: histogram(
			rounds.flatMap(row =>
				String(row.adapterStaleness ?? '')
					.split(' ')
					.filter(Boolean),
			),
		),
		...(probed.length > 0 && {recovered: recoveredByCut(probed.map(recoveryOf))}),
		stepsDropped: droppedOf(rows.filter(row => row.kind === 'drop' && row.steps !== undefined)),
		adapterStalenessMax: Math.max(0, ...rounds.map(row => numberOf(row, 'adapterStalenessMax'))),
	};
}

const evaluationOf = (row: MetricsRow) => ({
	adapterVersion: numberOf(row, 'adapterVersion'),
	loss: numberOf(row, 'loss'),
	perplexity: numberOf(row, 'perplexity'),
});

const recoveryOf = (row: MetricsRow): RecoveredRow => ({
	cut: numberOf(row, 'cut'),
	tokens: numberOf(row, 'tokens'),
	recoveredCosine: numberOf(row, 'recoveredCosine'),
	recoveredEuclidean: numberOf(row, 'recoveredEuclidean'),
	recoveredThroughHead: row.recoveredThroughHead === undefined ? undefined : numberOf(row, 'recoveredThroughHead'),
});

const clientSummary = (rows: readonly MetricsRow[]): ClientSummary => ({
	steps: rows.length,
	tokens: sum(rows, 'tokens'),
	bytesUp: sum(rows, 'bytesUp'),
	bytesDown: sum(rows, 'bytesDown'),
	lossFirst: numberOf(rows.at(0)!, 'loss'),
	lossLast: numberOf(rows.at(-1)!, 'loss'),
});

function meanLoss(
	byClient: Map<string, MetricsRow[]>,
	pick: (rows: readonly MetricsRow[]) => MetricsRow | undefined,
): number | null {
	const losses = [...byClient.values()].map(rows => numberOf(pick(rows)!, 'loss'));
	return losses.length > 0 ? losses.reduce((total, loss) => total + loss, 0) / losses.length : null;
}

function histogram(values: readonly unknown[]): Record<string, number> {
	const counts: Record<string, number> = {};
	for (const value of values) counts[String(value)] = (counts[String(value)] ?? 0) + 1;
	return counts;
}

function droppedOf(rows: readonly MetricsRow[]): Record<string, number> {
	const counts: Record<string, number> = {};
	for (const row of rows) counts[String(row.reason)] = (counts[String(row.reason)] ?? 0) + numberOf(row, 'steps');
	return counts;
}

function groupBy(rows: readonly MetricsRow[], keyOf: (row: MetricsRow) => string): Map<string, MetricsRow[]> {
	const groups = new Map<string, MetricsRow[]>();
	for (const row of rows) {
		const own = groups.get(keyOf(row));
		if (own) own.push(row);
		else groups.set(keyOf(row), [row]);
	}
	return groups;
}
