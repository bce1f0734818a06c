/**
The attack that a probe tries on activations: the token whose reference lies nearest to each of them. It knows frozen weights, which
everybody in a run has, and nothing else.
*/
import type {DeviceTensor, Kernels} from '../tensor/backend.ts';

/** The nearest token of each row by each distance. */
export type NearestTokens = {readonly cosine: Int32Array; readonly euclidean: Int32Array};

/** At most this many scores at a time (64 MiB). */
const scoresMax = 1 << 24;

/** What activations are compared with: a row `[H]` a token, `[V, H]`, and the square of each one's length. */
export type References = {readonly rows: DeviceTensor; readonly squares: Float32Array};

export const referencesOf = (k: Kernels, rows: DeviceTensor): References => ({
	rows,
	squares: k.scope(() => k.download(k.sumOfRows(k.square(rows)))),
});

/**
The nearest references to `rows` `[n, H]`; of equally near ones the first. One product gives both: the angle is by `a e / |e|`, the
distance by `a e - |e|^2 / 2`.
*/
export function nearestTokens(k: Kernels, {rows: tokens, squares}: References, rows: DeviceTensor): NearestTokens {
	const [count, hidden] = rows.shape as [number, number];
	const size = Math.max(1, Math.floor(scoresMax / squares.length));
	const nearest = {cosine: new Int32Array(count), euclidean: new Int32Array(count)};
	const inverse = squares.map(square => (square > 0 ? 1 / Math.sqrt(square) : 0));
	const values = k.download(rows);
	for (let start = 0; start < count; start += size) {
		const end = Math.min(count, start + size);
		const scores = k.scope(() => {
			const piece = k.upload(values.subarray(start * hidden, end * hidden), [end - start, hidden]);
			return k.download(k.matMul(piece, tokens, false, true));
		});
		for (let row = start; row < end; row++) choose(scores, (row - start) * squares.length, row);
	}
	return nearest;

	function choose(scores: Float32Array, offset: number, row: number): void {
		let [angle, distance] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY];
		for (let token = 0; token < squares.length; token++) {
			const score = scores[offset + token]!;
			const cosine = score * inverse[token]!;
			const euclidean = score - squares[token]! / 2;
			if (cosine > angle) [angle, nearest.cosine[row]] = [cosine, token];
			if (euclidean > distance) [distance, nearest.euclidean[row]] = [euclidean, token];
		}
	}
}
