import {Worker} from 'node:worker_threads';
import test from 'ava';
import {CutlayerError} from '../../protocols/errors.ts';
import {resolveBackend} from '../../runtime/setup/resolve.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {allKernels, randomValues} from './all-kernels.ts';

test('kernels compute what their names say', async t => {
	const {kernels: k} = await nativeBackend();
	const result = allKernels(k);
	const a = randomValues('a', 12);
	const shifted = a.slice(0, 4).map(value => value * 30);
	const sum = shifted.reduce((total, value) => total + Math.exp(value), 0);
	t.true(Math.abs(result.losses![0]! - (Math.log(sum) - shifted[2]!)) < 1e-4);
	const batches = randomValues('batches', 24);
	const last = batches.length - 2; // the last pair meets the last of a
	t.true(Math.abs(result.mulComplex![last]! - (batches[22]! * a[10]! - batches[23]! * a[11]!)) < 1e-6);
	t.true(Math.abs(result.mulComplex![last + 1]! - (batches[22]! * a[11]! + batches[23]! * a[10]!)) < 1e-6);
	t.deepEqual([...result.scatterRows!.slice(0, 4)], [...a.slice(4, 8)]);
	t.deepEqual([...result.scatterRows!.slice(4, 8)], [0, 0, 0, 0]);
	t.deepEqual([...result.gatherRows!.slice(4, 8)], [...a.slice(0, 4)]);
	t.true(Math.abs(result.scatterRows![8]! - (a[0]! + a[8]!)) < 1e-6, 'rows with the same index add up');
});

test('the loss of a label whose probability is too small for f32 stays finite and right', async t => {
	const {kernels: k} = await nativeBackend();
	const {losses, gradient} = k.scope(() => {
		const loss = k.crossEntropy(
			k.upload(Float32Array.of(500, 0, -500, 1, 1, 1), [2, 3]),
			k.uploadIndex(Int32Array.of(2, 0)),
		);
		return {losses: k.download(loss.losses), gradient: k.download(loss.gradient)};
	});
	t.deepEqual([...losses], [1000, Math.fround(Math.log(3))]);
	t.deepEqual([...gradient.slice(0, 3)], [1, 0, -1]);
});

test('a scope keeps the tensors of its result, in any nesting, and frees them when it throws', async t => {
	const {kernels: k} = await nativeBackend();
	const before = k.liveTensors();
	const kept = k.scope(() => {
		const x = k.upload(Float32Array.of(1, 2), [2]);
		return {values: Float32Array.of(5), deep: [{square: k.square(x)}], none: undefined};
	});
	t.is(k.liveTensors(), before + 1);
	t.deepEqual([...k.download(kept.deep[0]!.square)], [1, 4]);
	k.dispose(kept);
	t.is(k.liveTensors(), before);
	t.throws(() =>
		k.scope(() => {
			k.upload(Float32Array.of(1), [1]);
			throw new Error('in the middle');
		}),
	);
	t.is(k.liveTensors(), before);
});

test('constants of ever new shapes do not pile up', async t => {
	const {kernels: k} = await nativeBackend();
	const before = k.liveTensors();
	const numbers = process.memoryUsage().rss;
	for (let size = 1; size <= 2000; size++) {
		k.scope(() => {
			k.reshape(k.upload(new Float32Array(size), [size]), [size, 1]);
		});
	}
	t.is(k.liveTensors(), before);
	t.true(process.memoryUsage().rss - numbers < 2e8);
});

test('a backend that cannot load says so and what to do', async t => {
	const code = `
		import {parentPort} from 'node:worker_threads';
		const {openBackend} = await import(${JSON.stringify(new URL('../../runtime/tensor/backend.ts', import.meta.url).href)});
		parentPort.postMessage(await openBackend({kind: 'tensorflow', bindingPath: '/nowhere/tfjs_binding.node'}).catch(error => error.message));
	`;
	const message = await inThread<string>(code);
	t.regex(message, /backend tensorflow does not load.*\/nowhere\/tfjs_binding\.node/s);
	t.regex(message, /cutlayer setup/);
	t.is(new CutlayerError('backend-missing', message).exitCode, 1);
});

test('the native backend computes in a thread of its own with a binding given by its path', async t => {
	const {bindingPath} = resolveBackend('tensorflow');
	const code = `
		import {parentPort} from 'node:worker_threads';
		const {openBackend} = await import(${JSON.stringify(new URL('../../runtime/tensor/backend.ts', import.meta.url).href)});
		const {kernels: k, kind} = await openBackend({kind: 'tensorflow', bindingPath: ${JSON.stringify(bindingPath)}});
		const x = k.upload(Float32Array.of(1, 2, 3, 4), [2, 2]);
		parentPort.postMessage([kind, ...k.download(k.matMul(x, x))]);
	`;
	await nativeBackend();
	t.deepEqual(await inThread<unknown[]>(code), ['tensorflow', 7, 10, 15, 22]);
});

/** The message of a thread that runs TypeScript modules. */
function inThread<T>(code: string): Promise<T> {
	const loaded = `data:text/javascript,${encodeURIComponent(`import {register} from ${JSON.stringify(import.meta.resolve('tsx/esm/api'))}; register(); ${code}`)}`;
	return new Promise((resolve, reject) => {
		const worker = new Worker(new URL(loaded));
		worker.once('error', reject);
		worker.once('message', message => worker.terminate().then(() => resolve(message as T), reject));
	});
}
