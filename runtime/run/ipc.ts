/**
Questions and answers between a run and the process of one of its actors, over the pipe of `fork` with structured clones.
It knows no actor.
*/
import {CutlayerError, type ErrorCode, errorText} from '../../protocols/errors.ts';

/** The end of the pipe: a child as its parent sees it, or `process` in the child. */
export type Pipe = {
	send?(message: unknown, callback?: (error: Error | null) => void): boolean;
	on(event: 'message', take: (message: unknown) => void): unknown;
};

type Message =
	| {readonly ask: string; readonly input: unknown; readonly id: number}
	| {readonly tell: string; readonly input: unknown}
	| {readonly id: number; readonly answer: unknown}
	| {readonly id: number; readonly error: {readonly text: string; readonly code: ErrorCode | undefined}};

/** What the other end may ask for or tell, by name. */
export type Handlers = Readonly<Record<string, (input: never) => unknown>>;

type Waiting = {readonly resolve: (answer: unknown) => void; readonly reject: (error: Error) => void};

export class Ipc {
	readonly #pipe: Pipe;
	readonly #handlers: Handlers;
	readonly #waiting = new Map<number, Waiting>();
	#next = 0;
	#end: Error | undefined;

	constructor(pipe: Pipe, handlers: Handlers) {
		this.#pipe = pipe;
		this.#handlers = handlers;
		pipe.on('message', message => void this.#take(message as Message));
	}

	/** The other end's answer; rejects with its error, or with why the pipe ended. */
	ask(what: string, input: unknown = {}): Promise<unknown> {
		if (this.#end) return Promise.reject(this.#end);
		const id = this.#next++;
		return new Promise((resolve, reject) => {
			this.#waiting.set(id, {resolve, reject});
			this.#send({ask: what, input, id});
		});
	}

	/** A word that needs no answer; lost when the pipe has ended. */
	tell(what: string, input: unknown = {}): void {
		if (!this.#end) this.#send({tell: what, input});
	}

	/** The other end is gone: nothing will be answered. */
	fail(error: Error): void {
		this.#end ??= error;
		for (const {reject} of this.#waiting.values()) reject(error);
		this.#waiting.clear();
	}

	#send(message: Message): void {
		// A pipe that breaks is reported by the end of the process.
		this.#pipe.send?.(message, () => undefined);
	}

	async #take(message: Message): Promise<void> {
		if ('ask' in message) {
			const {ask, input, id} = message;
			try {
				this.#send({id, answer: await this.#handlers[ask]!(input as never)});
			} catch (error) {
				this.#send({
					id,
					error: {text: errorText(error), code: error instanceof CutlayerError ? error.code : undefined},
				});
			}
		} else if ('tell' in message) {
			this.#handlers[message.tell]!(message.input as never);
		} else {
			const waiting = this.#waiting.get(message.id);
			this.#waiting.delete(message.id);
			if ('answer' in message) waiting?.resolve(message.answer);
			else waiting?.reject(errorOf(message.error));
		}
	}
}

const errorOf = ({text, code}: {text: string; code: ErrorCode | undefined}): Error =>
	code ? new CutlayerError(code, text) : new Error(text);
