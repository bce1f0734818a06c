/**
The compute port in a thread of its own, so that an actor answers the bus while kernels block. Requests are copied across,
results are handed over without a copy.
*/
import {Worker} from 'node:worker_threads';
import {CutlayerError, type ErrorCode} from '../../protocols/errors.ts';
import type {Compute, PassRequest, PassResult} from '../../protocols/ports.ts';
import type {BackendOptions} from '../tensor/backend.ts';

/** What the thread opens before its first pass. */
export type ThreadOptions = {readonly backend: BackendOptions; readonly modelPath: string};

/** What opened: for the report, and so that both sides agree on the model. */
export type Opened = {readonly backend: string; readonly isGpu: boolean};

export type ThreadRequest = {readonly id: number; readonly request: PassRequest | 'close'};
export type ThreadReply = {
	readonly id: number;
	readonly result?: PassResult;
	readonly error?: {readonly text: string; readonly code?: ErrorCode};
};

type Waiting = {readonly resolve: (result: PassResult) => void; readonly reject: (error: Error) => void};

export class ThreadCompute implements Compute {
	readonly #thread: Worker;
	readonly #waiting = new Map<number, Waiting>();
	#next = 0;
	/** Why the thread is gone. */
	#end: Error | undefined;

	private constructor(thread: Worker) {
		this.#thread = thread;
		thread.on('message', (reply: ThreadReply) => this.#settle(reply));
		thread.on('error', error => this.#fail(error));
		thread.on('exit', code => this.#fail(new Error(`The compute thread ended with code ${code}`)));
	}

	/** Starts the thread; rejects with what the backend or the weights say when they cannot be opened. */
	static open(options: ThreadOptions): Promise<{compute: ThreadCompute; opened: Opened}> {
		const thread = new Worker(new URL('thread-entry.mjs', import.meta.url), {workerData: options});
		return new Promise((resolve, reject) => {
			const onError = (error: Error) => reject(error);
			thread.once('error', onError);
			thread.once('message', (first: Opened | ThreadReply) => {
				thread.off('error', onError);
				if ('error' in first) reject(errorOf(first));
				else resolve({compute: new ThreadCompute(thread), opened: first as Opened});
			});
		});
	}

	run(request: PassRequest): Promise<PassResult> {
		return this.#post(request);
	}

	async close(): Promise<void> {
		try {
			if (!this.#end) await this.#post('close');
		} finally {
			// Whatever the thread could not free, its end does.
			await this.#thread.terminate();
		}
	}

	#post(request: ThreadRequest['request']): Promise<PassResult> {
		if (this.#end) return Promise.reject(this.#end);
		const id = this.#next++;
		return new Promise((resolve, reject) => {
			this.#waiting.set(id, {resolve, reject});
			this.#thread.postMessage({id, request} satisfies ThreadRequest);
		});
	}

	#settle(reply: ThreadReply): void {
		const waiting = this.#waiting.get(reply.id);
		this.#waiting.delete(reply.id);
		if (reply.error) waiting?.reject(errorOf(reply));
		else waiting?.resolve(reply.result!);
	}

	#fail(error: Error): void {
		this.#end ??= error;
		for (const {reject} of this.#waiting.values()) reject(error);
		this.#waiting.clear();
	}
}

const errorOf = ({error}: ThreadReply): Error =>
	error?.code ? new CutlayerError(error.code, error.text) : new Error(error?.text ?? 'the compute thread failed');
