/**
What probes recovered of activations, by cut. Pure.
*/
import type {ProbeRow} from '../attach/probe.ts';

/** What one batch gave away, as its probe tells it. */
export type RecoveredRow = Omit<ProbeRow, 'client' | 'round' | 'step'>;

/** Shares of the tokens of all batches of a cut, by the nearest angle and by the nearest distance. */
export type RecoveredAtCut = {
	readonly cut: number;
	readonly tokens: number;
	readonly cosine: number;
	readonly euclidean: number;
	/** By the nearest of what the head makes of each token; only where every batch was compared so. */
	readonly throughHead?: number;
};

/** In order of the cuts. */
export function recoveredByCut(rows: readonly RecoveredRow[]): RecoveredAtCut[] {
	const cuts = [...new Set(rows.map(({cut}) => cut))].toSorted((a, b) => a - b);
	return cuts.map(cut => {
		const own = rows.filter(row => row.cut === cut);
		const tokens = own.reduce((sum, row) => sum + row.tokens, 0);
		const share = (shareOf: (row: RecoveredRow) => number) =>
			own.reduce((sum, row) => sum + shareOf(row) * row.tokens, 0) / tokens;
		const isThroughHead = own.every(row => row.recoveredThroughHead !== undefined);
		return {
			cut,
			tokens,
			cosine: share(row => row.recoveredCosine),
			euclidean: share(row => row.recoveredEuclidean),
			...(isThroughHead && {throughHead: share(row => row.recoveredThroughHead ?? 0)}),
		};
	});
}
