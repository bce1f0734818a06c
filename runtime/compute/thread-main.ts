/**
The inside of the compute thread: passes come in one after another, results go out with their memory.
*/
import {parentPort, workerData} from 'node:worker_threads';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import type {NamedTensors} from '../../protocols/tensor.ts';
import {openBackend} from '../tensor/backend.ts';
import {openWeights} from '../weights/load.ts';
import {LocalCompute} from './local.ts';
import type {Opened, ThreadOptions, ThreadReply, ThreadRequest} from './thread.ts';

const port = parentPort!;

const failure = (id: number, error: unknown): ThreadReply => ({
	id,
	error: {text: errorText(error), ...(error instanceof CutlayerError && {code: error.code})},
});

/** The distinct buffers of tensors that own theirs whole or share it only among themselves. */
const buffersOf = (tensors: NamedTensors): ArrayBuffer[] => [
	...new Set(Object.values(tensors).map(({bytes}) => bytes.buffer as ArrayBuffer)),
];

async function answer(compute: LocalCompute, {id, request}: ThreadRequest): Promise<void> {
	try {
		if (request === 'close') {
			await compute.close();
			port.postMessage({id, result: {output: {}, tensors: {}}} satisfies ThreadReply);
			return;
		}
		const result = await compute.run(request);
		port.postMessage({id, result} satisfies ThreadReply, buffersOf(result.tensors));
	} catch (error) {
		port.postMessage(failure(id, error));
	}
}

async function main({backend: options, modelPath}: ThreadOptions): Promise<void> {
	const backend = await openBackend(options);
	const compute = new LocalCompute(backend, await openWeights(modelPath));
	let last = Promise.resolve();
	port.on('message', (message: ThreadRequest) => {
		last = last.then(() => {
			const answered = answer(compute, message);
			// A pass of a cohort waits for the others, which come after it.
			return message.request !== 'close' && message.request.cohort ? undefined : answered;
		});
	});
	port.postMessage({backend: `${backend.kind} ${backend.version}`, isGpu: backend.isGpu} satisfies Opened);
}

try {
	await main(workerData as ThreadOptions);
} catch (error) {
	port.postMessage(failure(-1, error));
}
