/**
Rotary position embedding (arXiv 2104.09864). Its models pair value i of a head with value i + headDim / 2 (rotate-half); here the
rows of the weights that make queries and keys are reordered so that pairs lie side by side, one complex number each, and a turn
is a product. Scores do not change, as queries and keys are reordered alike.
*/
import type {DeviceTensor, Kernels} from '../tensor/backend.ts';
import type {ModelConfig} from './config.ts';

/** `[T, d / 2, 2]`, a complex number a pair: `ahead` turns a query or key by its position, `back` its gradient. */
export type RopeTables = {readonly ahead: DeviceTensor; readonly back: DeviceTensor};

/**
The tables of positions 0 to `positions` - 1: position t turns pair i by `t theta^(-2i / d)`.
Both also scale by `d^(-1/4)`, so that scores of turned queries and keys are scaled by the `1 / sqrt(d)` of attention.
*/
export function ropeTables(
	k: Kernels,
	{headDim, ropeTheta}: {headDim: number; ropeTheta: number},
	positions: number,
): RopeTables {
	const ahead = new Float32Array(positions * headDim);
	const back = new Float32Array(positions * headDim);
	const scale = headDim ** -0.25;
	for (let pair = 0; pair < headDim / 2; pair++) {
		const frequency = ropeTheta ** ((-2 * pair) / headDim);
		for (let position = 0; position < positions; position++) {
			const at = position * headDim + 2 * pair;
			ahead[at] = scale * Math.cos(position * frequency);
			ahead[at + 1] = scale * Math.sin(position * frequency);
			back[at] = ahead[at]!;
			back[at + 1] = -ahead[at + 1]!;
		}
	}
	const shape = [positions, headDim / 2, 2];
	return {ahead: k.upload(ahead, shape), back: k.upload(back, shape)};
}

/** Turns and scales `[..., T, d]` by each row's position. */
export const rotate = (k: Kernels, x: DeviceTensor, {ahead}: RopeTables): DeviceTensor => k.mulComplex(x, ahead);

/** The gradient of `rotate` at its input: the turn back, scaled again. */
export const rotateBackward = (k: Kernels, dy: DeviceTensor, {back}: RopeTables): DeviceTensor =>
	k.mulComplex(dy, back);

/** Where output `index` of a map to heads with rotary positions lies when the halves of each head are interleaved. */
export function interleaved({headDim}: Pick<ModelConfig, 'headDim'>, index: number): number {
	const within = index % headDim;
	const half = headDim / 2;
	return index - within + (within < half ? 2 * within : 2 * (within - half) + 1);
}
