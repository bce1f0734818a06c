/**
AdamW (arXiv 1711.05101) and SGD on the plain arrays of an adapter, in place; an adapter is too small to be worth the backend.
*/
import {type AdapterTensors, zerosLike} from './lora.ts';

/** Rates and factors without units; the learning rate is given a step. */
export type OptimizerSpec =
	| {
			readonly kind: 'adamw';
			/** Default 0.9. */
			readonly beta1?: number;
			/** Default 0.999. */
			readonly beta2?: number;
			/** Default 1e-8. */
			readonly eps?: number;
			/** Decoupled; default 0.01. */
			readonly weightDecay?: number;
	  }
	| {
			readonly kind: 'sgd';
			/** Decoupled; default 0. */
			readonly weightDecay?: number;
	  };

/** What an optimizer remembers: its steps, and for AdamW the moments, named `<tensor>.m` and `<tensor>.v`. */
export type OptimizerState = {readonly step: number; readonly moments: AdapterTensors};

/** The state before the first step. */
export const initialOptimizerState = (): OptimizerState => ({step: 0, moments: {}});

/**
One step: changes the parameters and the moments in place and returns the state that follows.
Every parameter needs a gradient of its shape; parameters that are new to the state start with zero moments.
*/
export function optimizerStep(
	spec: OptimizerSpec,
	state: OptimizerState,
	{parameters, gradients, lr}: {parameters: AdapterTensors; gradients: AdapterTensors; lr: number},
): OptimizerState {
	const step = state.step + 1;
	const moments = {...state.moments};
	for (const [name, parameter] of Object.entries(parameters)) {
		const gradient = gradients[name];
		if (gradient?.values.length !== parameter.values.length) throw new Error(`No gradient of ${name}'s shape`);
		if (spec.kind === 'sgd') {
			descend(parameter.values, gradient.values, lr, spec.weightDecay ?? 0);
			continue;
		}
		moments[`${name}.m`] ??= zerosLike({parameter}).parameter!;
		moments[`${name}.v`] ??= zerosLike({parameter}).parameter!;
		const mean = moments[`${name}.m`]!.values;
		const variance = moments[`${name}.v`]!.values;
		adam(parameter.values, gradient.values, {mean, variance, step, lr, ...spec});
	}
	return {step, moments};
}

function descend(values: Float32Array, gradient: Float32Array, lr: number, weightDecay: number): void {
	const kept = 1 - lr * weightDecay;
	for (let index = 0; index < values.length; index++) values[index] = kept * values[index]! - lr * gradient[index]!;
}

type AdamStep = {
	readonly mean: Float32Array;
	readonly variance: Float32Array;
	readonly step: number;
	readonly lr: number;
	readonly beta1?: number;
	readonly beta2?: number;
	readonly eps?: number;
	readonly weightDecay?: number;
};

/** Decay first, then the bias-corrected step; arithmetic in double, stored as f32. */
function adam(values: Float32Array, gradient: Float32Array, options: AdamStep): void {
	const {mean, variance, step, lr, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0.01} = options;
	const correction1 = 1 - beta1 ** step;
	const correction2 = 1 - beta2 ** step;
	const kept = 1 - lr * weightDecay;
	for (let index = 0; index < values.length; index++) {
		const g = gradient[index]!;
		const m = beta1 * mean[index]! + (1 - beta1) * g;
		const v = beta2 * variance[index]! + (1 - beta2) * g * g;
		mean[index] = m;
		variance[index] = v;
		values[index] = kept * values[index]! - (lr * (m / correction1)) / (Math.sqrt(v / correction2) + eps);
	}
}

/** Scales the gradients in place so that their common Euclidean norm is at most `normMax`; returns the norm before. */
export function clipByGlobalNorm(gradients: AdapterTensors, normMax: number): number {
	let squares = 0;
	for (const {values} of Object.values(gradients)) for (const value of values) squares += value * value;
	const norm = Math.sqrt(squares);
	if (norm > normMax) {
		for (const {values} of Object.values(gradients)) {
			for (let index = 0; index < values.length; index++) values[index]! *= normMax / norm;
		}
	}
	return norm;
}
