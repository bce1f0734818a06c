/**
A server's optimizer over the mean change of its clients, `Delta = sum p_i (w_i - w)`: FedAvgM (Hsu et al., 2019), FedAdam and
FedYogi (Reddi et al., ICLR 2021, algorithm 2: no bias correction, v starts at tau squared).
*/
import type {ServerOptimizer} from '../../protocols/aggregation.ts';
import {type AdapterTensors, cloneAdapter, zerosLike} from './lora.ts';

/** First moment, and for FedAdam and FedYogi the second. */
export type ServerMoments = {readonly m: AdapterTensors; readonly v: AdapterTensors};

export function initialMoments(optimizer: ServerOptimizer, adapter: AdapterTensors): ServerMoments {
	const v = zerosLike(adapter);
	if (optimizer.kind !== 'fedavgm') for (const {values} of Object.values(v)) values.fill(optimizer.tau ** 2);
	return {m: zerosLike(adapter), v};
}

/** The next adapter from the clients' mean; the moments are changed in place. */
export function serverStep(
	optimizer: ServerOptimizer,
	{m, v}: ServerMoments,
	{adapter, mean}: {readonly adapter: AdapterTensors; readonly mean: AdapterTensors},
): AdapterTensors {
	const next = cloneAdapter(adapter);
	for (const [name, {values}] of Object.entries(next)) {
		const [first, second, target] = [m[name]!.values, v[name]!.values, mean[name]!.values];
		for (let place = 0; place < values.length; place++) {
			const delta = target[place]! - values[place]!;
			if (optimizer.kind === 'fedavgm') {
				first[place] = optimizer.momentum * first[place]! + delta;
				values[place]! += optimizer.learningRate * first[place]!;
				continue;
			}
			const {beta1, beta2, tau, learningRate} = optimizer;
			first[place] = beta1 * first[place]! + (1 - beta1) * delta;
			second[place] = secondMoment(optimizer.kind, second[place]!, delta ** 2, beta2);
			values[place]! += (learningRate * first[place]!) / (Math.sqrt(second[place]!) + tau);
		}
	}
	return next;
}

const secondMoment = (kind: 'fedadam' | 'fedyogi', v: number, square: number, beta2: number): number =>
	kind === 'fedadam' ? beta2 * v + (1 - beta2) * square : v - (1 - beta2) * square * Math.sign(v - square);
