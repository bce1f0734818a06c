/**
Scopes that free tensors. TensorFlow.js' own `tidy` looks at every value of an array in a result, which for plain arrays of
a pass takes as long as a tenth of its arithmetic; here typed arrays are passed over.
*/
import type * as Tf from '@tensorflow/tfjs';
import type {DeviceTensor} from './kernels.ts';

/** `scope` and `dispose` of the kernels. */
export function scopesOf(tf: typeof Tf) {
	const engine = tf.engine();
	const tensorsIn = (tree: unknown, found: DeviceTensor[] = []): DeviceTensor[] => {
		if (tree instanceof tf.Tensor) found.push(tree);
		else if (typeof tree === 'object' && tree !== null && !ArrayBuffer.isView(tree)) {
			for (const branch of Object.values(tree)) tensorsIn(branch, found);
		}
		return found;
	};
	return {
		scope<T>(compute: () => T): T {
			engine.startScope();
			let kept: DeviceTensor[] = [];
			try {
				const result = compute();
				kept = tensorsIn(result);
				return result;
			} finally {
				engine.endScope(kept);
			}
		},
		consume<T>(used: DeviceTensor, compute: () => T): T {
			const result = compute();
			used.dispose();
			return result;
		},
		dispose(tree: object): void {
			for (const tensor of tensorsIn(tree)) tensor.dispose();
		},
	};
}
