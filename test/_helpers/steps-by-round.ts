/**
Counts the steps in the rows of a run.
*/
import type {MetricsRow} from '../../runtime/run/recorder.ts';

/** Steps taken and given up, by client and round. */
export function stepsByRound(rows: readonly MetricsRow[]): Record<string, number> {
	const counts: Record<string, number> = {};
	for (const row of rows) {
		const key = `${row.actor} ${row.round}`;
		if (row.kind === 'step') counts[key] = (counts[key] ?? 0) + 1;
		if (row.kind === 'drop' && row.steps !== undefined) counts[key] = (counts[key] ?? 0) + Number(row.steps);
	}
	return counts;
}
