/**
Cross-entropy as raw TensorFlow operations around its softmax, which has a fast kernel; the operation that does it all,
SparseSoftmaxCrossEntropyWithLogits, goes over the logits more often and takes almost twice as long.
*/
import type {DeviceTensor} from './kernels.ts';
import type {Constants, Operations} from './native-operations.ts';

/** `[r, V]` logits and int32 labels `[r]` to losses `[r]` and the gradient `[r, V]`. Leaves its intermediates to the scope around it. */
export function crossEntropyOf(
	{run, unary, binary, float, floats, ints, type, flag, count}: Operations,
	constants: Constants,
) {
	const maxAttributes = [float, flag('keep_dims', false), ints('Tidx')];
	const pairAttributes = [count('N', 2), ints('T'), count('axis', 1)];
	const gatherAttributes = [type('Tparams', floats), ints('Tindices')];
	const scatterAttributes = [float, ints('Tindices')];
	const [log, sub] = [unary('Log'), binary('Sub')];
	const maxOfRows = (x: DeviceTensor) => run('Max', maxAttributes, [x, constants.vector([-1])]);
	return (logits: DeviceTensor, labels: DeviceTensor): {losses: DeviceTensor; gradient: DeviceTensor} => {
		const rows = logits.shape[0]!;
		const range = [constants.integer(0), constants.integer(rows), constants.integer(1)];
		const at = run('Pack', pairAttributes, [run('Range', [ints('Tidx')], range), labels]); // [r, 2]
		const probabilities = unary('Softmax')(logits);
		// From the largest probability, as the label's own may be too small for f32.
		const logSums = sub(maxOfRows(logits), log(maxOfRows(probabilities)));
		const ones = run('Fill', [float, ints('index_type')], [constants.vector([rows]), constants.factor(1)]);
		return {
			losses: sub(logSums, run('GatherNd', gatherAttributes, [logits, at])),
			gradient: run('TensorScatterSub', scatterAttributes, [probabilities, at, ones]),
		};
	};
}
