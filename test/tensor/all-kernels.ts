/**
Every kernel once, on fixed inputs: what backends are compared by.
*/
import {randomStream} from '../../runtime/random.ts';
import type {Kernels} from '../../runtime/tensor/backend.ts';

/** Values in [-1, 1) that depend on the name. */
export const randomValues = (name: string, length: number) => {
	const stream = randomStream('kernels', name);
	return Float32Array.from({length}, () => 2 * stream.float() - 1);
};

/** The results by the kernels' names. */
export function allKernels(k: Kernels): Record<string, Float32Array> {
	return k.scope(() => {
		const a = k.upload(randomValues('a', 12), [3, 4]);
		const b = k.upload(randomValues('b', 12), [3, 4]);
		const wide = k.upload(randomValues('wide', 20), [4, 5]);
		const batches = k.upload(randomValues('batches', 24), [2, 3, 4]);
		const column = k.upload(randomValues('column', 3), [3, 1]);
		const bias = k.upload(randomValues('bias', 4), [4]);
		const index = k.uploadIndex(Int32Array.of(2, 0, 2));
		const loss = k.crossEntropy(k.scale(a, 30), index);
		const [first, second] = k.split(a, [1, 3], 1) as [typeof a, typeof a];
		const results = {
			matMul: k.matMul(a, wide),
			matMulTransposeA: k.matMul(a, b, true),
			matMulTransposeB: k.matMul(a, b, false, true),
			batchMatMul: k.batchMatMul(batches, batches, false, true),
			batchMatMulTransposeA: k.batchMatMul(batches, batches, true),
			batchMatMulBroadcast: k.batchMatMul(batches, wide),
			add: k.add(a, column),
			sub: k.sub(a, column),
			mul: k.mul(a, bias),
			mulComplex: k.mulComplex(batches, k.reshape(a, [a.shape[0]!, -1, 2])),
			addBias: k.addBias(a, bias),
			scale: k.scale(a, 0.3),
			addScalar: k.addScalar(a, 0.3),
			square: k.square(a),
			negatedCube: k.negatedCube(a),
			sum: k.sum([a, b, a]),
			rsqrt: k.rsqrt(k.addScalar(a, 2)),
			sigmoid: k.sigmoid(a),
			sigmoidGradient: k.sigmoidGradient(k.sigmoid(a), b),
			softmax: k.softmax(batches),
			meanOfRows: k.meanOfRows(a),
			sumOfRows: k.sumOfRows(a),
			meanOfColumns: k.meanOfColumns(a),
			transpose: k.transpose(batches, [2, 0, 1]),
			reshape: k.reshape(batches, [-1, 4]),
			first,
			concat: k.concat([second, first], 1),
			gatherRows: k.gatherRows(a, index),
			scatterRows: k.scatterRows(a, index, 5),
			losses: loss.losses,
			lossGradient: loss.gradient,
		};
		return Object.fromEntries(Object.entries(results).map(([name, tensor]) => [name, k.download(tensor)]));
	});
}
