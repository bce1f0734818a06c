/**
Gaussian noise on activations before they leave a client: each token's row is clipped to a norm, then noise is added. What comes
back from the main server goes through the clipping too.
*/
import type {RandomStream} from '../random.ts';

/** `sigma`: standard deviation of the noise of each value, in `normMax`, the largest norm of a row. */
export type ActivationNoise = {readonly normMax: number; readonly sigma: number};

/** Of each clipped row: what it was multiplied by, and the row of norm 1; other rows are in no entry. */
export type Clipped = ReadonlyMap<number, {readonly scale: number; readonly direction: Float32Array}>;

/** Rows `[tokens, hidden]` as they may leave, and how they were clipped. */
export function noised(
	rows: Float32Array,
	hidden: number,
	{normMax, sigma}: ActivationNoise,
	noise: RandomStream,
): {readonly rows: Float32Array; readonly clipped: Clipped} {
	const result = new Float32Array(rows.length);
	const clipped = new Map<number, {scale: number; direction: Float32Array}>();
	for (let row = 0; row * hidden < rows.length; row++) {
		const values = rows.subarray(row * hidden, (row + 1) * hidden);
		const norm = Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0));
		const scale = norm > normMax ? normMax / norm : 1;
		if (scale < 1) clipped.set(row, {scale, direction: values.map(value => value / norm)});
		for (let i = 0; i < hidden; i++) result[row * hidden + i] = values[i]! * scale + sigma * normMax * noise.normal();
	}
	return {rows: result, clipped};
}

/** The gradient `[tokens, hidden]` before the clipping, `s (g - d (d g))` of a clipped row; a copy where there is any. */
export function beforeClipping(gradient: Float32Array, hidden: number, clipped: Clipped): Float32Array {
	if (clipped.size === 0) return gradient;
	const result = gradient.slice();
	for (const [row, {scale, direction}] of clipped) {
		const values = result.subarray(row * hidden, (row + 1) * hidden);
		const along = values.reduce((sum, value, i) => sum + value * direction[i]!, 0);
		for (let i = 0; i < hidden; i++) values[i] = scale * (values[i]! - along * direction[i]!);
	}
	return result;
}
