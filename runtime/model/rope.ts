/**
Rotary position embedding (arXiv 2104.09864) in the rotate-half convention: value i of a head is paired with value i + headDim / 2.
*/
import type {DeviceTensor, Kernels} from '../tensor/backend.ts';

/**
Position t turns pair i by `t theta^(-2i / d)`. `cos` and `sin` are `[T, d]`, both halves alike but for the first half's sines,
which are negative; `swap` `[d, d]` exchanges the halves of a row by a product, which costs less than splitting and joining.
*/
export type RopeTables = {readonly cos: DeviceTensor; readonly sin: DeviceTensor; readonly swap: DeviceTensor};

/** The tables of positions 0 to `positions` - 1. */
export function ropeTables(
	k: Kernels,
	{headDim, ropeTheta}: {headDim: number; ropeTheta: number},
	positions: number,
): RopeTables {
	const half = headDim / 2;
	const cos = new Float32Array(positions * headDim);
	const sin = new Float32Array(positions * headDim);
	const swap = new Float32Array(headDim * headDim);
	for (let index = 0; index < headDim; index++) {
		const frequency = ropeTheta ** ((-2 * (index % half)) / headDim);
		const sign = index < half ? -1 : 1;
		swap[index * headDim + ((index + half) % headDim)] = 1;
		for (let position = 0; position < positions; position++) {
			cos[position * headDim + index] = Math.cos(position * frequency);
			sin[position * headDim + index] = sign * Math.sin(position * frequency);
		}
	}
	return {
		cos: k.upload(cos, [positions, headDim]),
		sin: k.upload(sin, [positions, headDim]),
		swap: k.upload(swap, [headDim, headDim]),
	};
}

/** Turns `[..., T, d]` by each row's position. */
export function rotate(k: Kernels, x: DeviceTensor, tables: RopeTables): DeviceTensor {
	return k.scope(() => k.add(k.mul(x, tables.cos), k.mul(swapped(k, x, tables), tables.sin)));
}

/** The gradient of `rotate` at its input: the turn back. */
export function rotateBackward(k: Kernels, dy: DeviceTensor, tables: RopeTables): DeviceTensor {
	return k.scope(() => k.add(k.mul(dy, tables.cos), swapped(k, k.mul(dy, tables.sin), tables)));
}

const swapped = (k: Kernels, x: DeviceTensor, {swap}: RopeTables): DeviceTensor => k.batchMatMul(x, swap);
