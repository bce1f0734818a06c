/**
The pieces of a transformer block that hold no adapter: frozen linear maps, norms and activations, each with its hand-written backward.
No function here computes a gradient of a frozen weight. N tokens, H hidden, F width of the MLP.
*/
import type {DeviceTensor, Kernels} from '../tensor/backend.ts';

/** A frozen `y = x W + b`; `isOutIn` says that W is stored `[out, in]` (Hugging Face's Linear) instead of `[in, out]` (Conv1D). */
export type Linear = {
	readonly weight: DeviceTensor;
	readonly isOutIn: boolean;
	readonly bias?: DeviceTensor | undefined;
	/** `[in]`: the gain of the norm before it that W has taken in; what reads the same x besides W must apply it itself. */
	readonly inputGain?: Float32Array;
};

/** `[N, in]` to `[N, out]`. */
export function linear(k: Kernels, {weight, isOutIn, bias}: Linear, x: DeviceTensor): DeviceTensor {
	const product = k.matMul(x, weight, false, isOutIn);
	return bias ? k.consume(product, () => k.addBias(product, bias)) : product;
}

/** The gradient at the input: `[N, out]` to `[N, in]`. */
export const linearBackward = (k: Kernels, {weight, isOutIn}: Linear, dy: DeviceTensor): DeviceTensor =>
	k.matMul(dy, weight, false, !isOutIn);

/** Multiplies every row of a matrix `[rows, columns]` by a vector `[columns]`, in place. */
export function scaleColumns(matrix: Float32Array, gain: Float32Array): void {
	for (let start = 0; start < matrix.length; start += gain.length) {
		for (let column = 0; column < gain.length; column++) matrix[start + column]! *= gain[column]!;
	}
}

/** A frozen LayerNorm (with a bias) or RMSNorm (without one). */
export type Norm = {
	readonly kind: 'layer' | 'rms';
	/** Absent where the maps that follow have taken it in. */
	readonly gain?: DeviceTensor;
	readonly bias?: DeviceTensor | undefined;
	readonly eps: number;
};

/** What the backward of a norm needs: the normalised input `[N, H]` and the reciprocal deviation `[N, 1]`. */
export type NormSaved = {readonly normalised: DeviceTensor; readonly scale: DeviceTensor};

/** Normalises rows, then applies gain and bias. */
export function norm(k: Kernels, {kind, gain, bias, eps}: Norm, x: DeviceTensor): {y: DeviceTensor; saved: NormSaved} {
	return k.scope(() => {
		const centred = kind === 'layer' ? k.sub(x, k.meanOfRows(x)) : x;
		const scale = k.rsqrt(k.addScalar(k.meanOfRows(k.square(centred)), eps));
		const normalised = k.mul(centred, scale);
		const scaled = gain ? k.mul(normalised, gain) : normalised;
		return {y: bias ? k.addBias(scaled, bias) : scaled, saved: {normalised, scale}};
	});
}

/**
`dx = s (d - mean(d) - x^ mean(d x^))` with `d = dy gain`; RMSNorm has no `mean(d)`.
`residual`: the gradient that comes past the norm, added in the same pass.
*/
export function normBackward(
	k: Kernels,
	{kind, gain}: Norm,
	{normalised, scale}: NormSaved,
	dy: DeviceTensor,
	residual?: DeviceTensor,
): DeviceTensor {
	return k.scope(() => {
		const d = gain ? k.mul(dy, gain) : dy;
		const centred = kind === 'layer' ? k.sub(d, k.meanOfRows(d)) : d;
		const projection = k.mul(k.meanOfRows(k.mul(d, normalised)), scale); // [N, 1]
		const terms = [k.mul(centred, scale), k.mul(normalised, k.scale(projection, -1))];
		return k.sum(residual ? [residual, ...terms] : terms);
	});
}

/** The derivatives of an activation at its inputs, evaluated in the forward: `[N, F]` each. */
export type ActivationSaved = {readonly up: DeviceTensor; readonly gate?: DeviceTensor};

export type Activated = {readonly y: DeviceTensor; readonly saved: ActivationSaved | undefined};

const slope = 2 * Math.sqrt(2 / Math.PI);
const cubic = 0.044715;

/**
GELU in its tanh form, `0.5 u (1 + tanh(sqrt(2/pi) (u + 0.044715 u^3)))`, which is `u s(z)` with the logistic s and
`z = slope u + slope cubic u^3`. Its derivative is `s + s' u dz/du`, and `u dz/du = z + 2 slope cubic u^3`.
What is wide is freed as soon as it is used, so that the next result finds its memory in the cache.
*/
export function gelu(k: Kernels, u: DeviceTensor, keeps: boolean): Activated {
	return k.scope(() => {
		const cubed = k.scope(() => k.scale(k.negatedCube(u), -slope * cubic));
		const z = k.scope(() => k.add(k.scale(u, slope), cubed));
		const s = k.sigmoid(z);
		const y = k.mul(u, s);
		if (!keeps) return {y, saved: undefined};
		const change = k.scope(() => k.sigmoidGradient(s, k.sum([z, cubed, cubed])));
		return {y, saved: {up: k.add(s, change)}};
	});
}

/** `silu(gate) up`; the derivatives are `up (s + gate s')` at the gate and `silu(gate)` at up, with the logistic s of the gate. */
export function swiglu(k: Kernels, gate: DeviceTensor, up: DeviceTensor, keeps: boolean): Activated {
	return k.scope(() => {
		const s = k.sigmoid(gate);
		const silu = k.mul(gate, s);
		const y = k.mul(silu, up);
		if (!keeps) return {y, saved: undefined};
		const slopeOfSilu = k.scope(() => k.add(s, k.sigmoidGradient(s, gate)));
		return {y, saved: {gate: k.mul(up, slopeOfSilu), up: silu}};
	});
}
