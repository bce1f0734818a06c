/**
Rotary position embedding (arXiv 2104.09864) in the rotate-half convention: value i of a head is paired with value i + headDim / 2.
*/
import type {DeviceTensor, Kernels} from '../tensor/backend.ts';

/** Cosines and sines, `[T, headDim / 2]` each: position t turns pair i by `t theta^(-2i / headDim)`. */
export type RopeTables = {readonly cos: DeviceTensor; readonly sin: DeviceTensor};

/** The tables of positions 0 to `positions` - 1. */
export function ropeTables(
	k: Kernels,
	{headDim, ropeTheta}: {headDim: number; ropeTheta: number},
	positions: number,
): RopeTables {
	const half = headDim / 2;
	const cos = new Float32Array(positions * half);
	const sin = new Float32Array(positions * half);
	for (let pair = 0; pair < half; pair++) {
		const frequency = ropeTheta ** ((-2 * pair) / headDim);
		for (let position = 0; position < positions; position++) {
			cos[position * half + pair] = Math.cos(position * frequency);
			sin[position * half + pair] = Math.sin(position * frequency);
		}
	}
	return {cos: k.upload(cos, [positions, half]), sin: k.upload(sin, [positions, half])};
}

/** Turns `[..., T, headDim]`, of rank 4, by each row's position. */
export function rotate(k: Kernels, x: DeviceTensor, {cos, sin}: RopeTables): DeviceTensor {
	const [first, second] = halves(k, x);
	return k.concat([k.sub(k.mul(first, cos), k.mul(second, sin)), k.add(k.mul(second, cos), k.mul(first, sin))], 3);
}

/** The gradient of `rotate` at its input: the turn back. */
export function rotateBackward(k: Kernels, dy: DeviceTensor, {cos, sin}: RopeTables): DeviceTensor {
	const [first, second] = halves(k, dy);
	return k.concat([k.add(k.mul(first, cos), k.mul(second, sin)), k.sub(k.mul(second, cos), k.mul(first, sin))], 3);
}

function halves(k: Kernels, x: DeviceTensor): [DeviceTensor, DeviceTensor] {
	const half = x.shape[3]! / 2;
	return k.split(x, [half, half], 3) as [DeviceTensor, DeviceTensor];
}
