/**
Opens the arithmetic: the native TensorFlow, or one of the fallbacks in JavaScript. The only door to TensorFlow.js.
*/
import {createRequire} from 'node:module';
import type * as Tf from '@tensorflow/tfjs';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import {loadNativeTensorflow} from './binding.ts';
import type {Kernels} from './kernels.ts';
import {nativeKernels} from './native-kernels.ts';
import type {NodeBackend} from './native-operations.ts';
import {portableKernels} from './portable-kernels.ts';

export type {DeviceTensor, Kernels} from './kernels.ts';

export type BackendKind = 'tensorflow' | 'wasm' | 'cpu';

/** `bindingPath`: the native binding to load; default is the one TensorFlow.js finds in its own package. */
export type BackendOptions = {readonly kind: BackendKind; readonly bindingPath?: string};

export type Backend = {
	readonly kind: BackendKind;
	/** Of the native library and of TensorFlow.js, for the run's record. */
	readonly version: string;
	readonly isGpu: boolean;
	readonly kernels: Kernels;
};

const require = createRequire(import.meta.url);

/**
Opens a backend in this thread; a thread can hold only one kind at a time.
Throws `backend-missing` when its library is absent or does not load.
*/
export async function openBackend({kind, bindingPath}: BackendOptions): Promise<Backend> {
	try {
		return await (kind === 'tensorflow' ? openNative(bindingPath) : openPortable(kind));
	} catch (error) {
		throw new CutlayerError(
			'backend-missing',
			`The backend ${kind} does not load: ${errorText(error)}; ${advice[kind]}`,
			{
				cause: error,
			},
		);
	}
}

const advice: Record<BackendKind, string> = {
	tensorflow: 'run `cutlayer setup`, or choose --backend wasm',
	wasm: 'reinstall the dependencies, or choose --backend cpu',
	cpu: 'reinstall the dependencies',
};

async function openNative(bindingPath: string | undefined): Promise<Backend> {
	const tf = loadNativeTensorflow(bindingPath);
	await tf.setBackend('tensorflow');
	const backend = tf.backend() as unknown as NodeBackend;
	return {
		kind: 'tensorflow',
		version: `tensorflow ${backend.binding.TF_Version}, tfjs ${tf.version_core}`,
		isGpu: backend.isUsingGpuDevice,
		kernels: nativeKernels(tf, backend),
	};
}

async function openPortable(kind: 'wasm' | 'cpu'): Promise<Backend> {
	const tf = require('@tensorflow/tfjs') as typeof Tf;
	tf.env().set('PROD', true); // without its advice to install another package
	if (kind === 'wasm') require('@tensorflow/tfjs-backend-wasm');
	if (!(await tf.setBackend(kind))) throw new Error('TensorFlow.js refused it');
	await tf.ready();
	return {kind, version: `tfjs ${tf.version_core}`, isGpu: false, kernels: portableKernels(tf)};
}
