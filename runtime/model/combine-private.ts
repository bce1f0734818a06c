/**
The mean of clipped changes with Gaussian noise, for client-level differential privacy (McMahan et al., ICLR 2018: DP-FedAvg with a
fixed divisor).
*/
import type {RandomStream} from '../random.ts';
import {clipDelta} from './combine-robust.ts';
import type {AdapterTensors} from './lora.ts';

export type NoisedMean = {
	/** Largest norm of a client's change of the whole adapter. */
	readonly normMax: number;
	/** Standard deviation of the noise on the sum, in `normMax`. */
	readonly noiseMultiplier: number;
	/** What the noised sum is divided by, however many uploads came. */
	readonly count: number;
};

/** `global + (sum_i clip(upload_i - global) + noise) / count`. The noise is drawn in the order of the adapter's matrices. */
export function noisedMean(
	uploads: readonly AdapterTensors[],
	global: AdapterTensors,
	{normMax, noiseMultiplier, count}: NoisedMean,
	noise: RandomStream,
): AdapterTensors {
	const clipped = uploads.map(upload => clipDelta(upload, global, normMax));
	const deviation = noiseMultiplier * normMax;
	return Object.fromEntries(
		Object.entries(global).map(([name, {shape, values}]) => {
			const changed = Float32Array.from(values, (value, place) => {
				const sum = clipped.reduce((total, upload) => total + (upload[name]!.values[place]! - value), 0);
				return value + (sum + deviation * noise.normal()) / count;
			});
			return [name, {shape, values: changed}];
		}),
	);
}
