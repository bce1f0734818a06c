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
};

/** `[N, in]` to `[N, out]`. */
export function linear(k: Kernels, {weight, isOutIn, bias}: Linear, x: DeviceTensor): DeviceTensor {
	const product = k.matMul(x, weight, false, isOutIn);
	return bias ? k.consume(product, () => k.addBias(product, bias)) : product;
}

/** The gradient at the input: `[N, out]` to `[N, in]`. */
export const linearBackward = (k: Kernels, {weight, isOutIn}: Linear, dy: DeviceTensor): DeviceTensor =>
	k.matMul(dy, weight, false, !isOutIn);

/** A frozen LayerNorm (with a bias) or RMSNorm (without one). */
export type Norm = {
	readonly kind: 'layer' | 'rms';
	readonly gain: DeviceTensor;
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
		const scaled = k.mul(normalised, gain);
		return {y: bias ? k.addBias(scaled, bias) : scaled, saved: {normalised, scale}};
	});
}

/** `dx = s (d - mean(d) - x^ mean(d x^))` with `d = dy gain`; RMSNorm has no `mean(d)`. */
export function normBackward(
	k: Kernels,
	{kind, gain}: Norm,
	{normalised, scale}: NormSaved,
	dy: DeviceTensor,
): DeviceTensor {
	return k.scope(() => {
		const d = k.mul(dy, gain);
		const centred = kind === 'layer' ? k.sub(d, k.meanOfRows(d)) : d;
		const projected = k.mul(normalised, k.meanOfRows(k.mul(d, normalised)));
		return k.mul(k.sub(centred, projected), scale);
	});
}

export type Activation = 'gelu' | 'swiglu';

/** What the backward of an activation needs: its derivative(s), already evaluated. */
export type ActivationSaved = readonly DeviceTensor[];

/** GELU in its tanh form, `[N, F]` to `[N, F]`, or SwiGLU, `[N, gate F | up F]` to `[N, F]`. */
export function activate(k: Kernels, activation: Activation, u: DeviceTensor, keeps: boolean) {
	return k.scope(() => (activation === 'gelu' ? gelu(k, u, keeps) : swiglu(k, u, keeps)));
}

/** The gradient at the activation's input. */
export function activateBackward(
	k: Kernels,
	activation: Activation,
	saved: ActivationSaved,
	dy: DeviceTensor,
): DeviceTensor {
	return k.scope(() => {
		const pieces = saved.map(derivative => k.mul(dy, derivative));
		return activation === 'gelu' ? pieces[0]! : k.concat(pieces, 1);
	});
}

const slope = 2 * Math.sqrt(2 / Math.PI);
const cubic = 0.044715;

/**
`0.5 u (1 + tanh(sqrt(2/pi) (u + 0.044715 u^3)))` is `u s(z)` with the logistic s and `z = slope u + slope cubic u^3`.
Its derivative is `s + s' u dz/du`, and `u dz/du = 3 z - 2 slope u`.
The inner scopes free what is wide as soon as it is used, so that the next result finds its memory in the cache.
*/
function gelu(k: Kernels, u: DeviceTensor, keeps: boolean): {y: DeviceTensor; saved: ActivationSaved} {
	const factor = k.scope(() =>
		k.addScalar(
			k.scope(() => k.scale(k.square(u), slope * cubic)),
			slope,
		),
	);
	const z = k.consume(factor, () => k.mul(u, factor));
	const s = k.sigmoid(z);
	const y = k.mul(u, s);
	if (!keeps) return {y, saved: []};
	const turned = k.scope(() =>
		k.sub(
			k.consume(z, () => k.scale(z, 3)),
			k.scale(u, 2 * slope),
		),
	);
	const change = k.consume(turned, () => k.sigmoidGradient(s, turned));
	return {y, saved: [k.consume(change, () => k.add(s, change))]};
}

/** `silu(gate) up`; the derivatives are `up (s + gate s')` at the gate and `silu(gate)` at up. */
function swiglu(k: Kernels, gateUp: DeviceTensor, keeps: boolean): {y: DeviceTensor; saved: ActivationSaved} {
	const width = gateUp.shape[1]! / 2;
	const [gate, up] = k.split(gateUp, [width, width], 1) as [DeviceTensor, DeviceTensor];
	const s = k.sigmoid(gate);
	const silu = k.mul(gate, s);
	const y = k.mul(silu, up);
	if (!keeps) return {y, saved: []};
	const slopeOfSilu = k.scope(() => k.add(s, k.sigmoidGradient(s, gate)));
	return {y, saved: [k.consume(slopeOfSilu, () => k.mul(up, slopeOfSilu)), silu]};
}
