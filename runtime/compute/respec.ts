/**
Arithmetic whose actors may be made of something else from some moment on: another learning rate, another wire format.
The change is made before an actor's next pass that begins anew; what it has trained so far is kept, bit for bit.
*/
import type {Compute, PassRequest, PassResult} from '../../protocols/ports.ts';
import type {ActorSpec} from './spec.ts';

/** A pass that works on what the one before it left, or comes while others wait for their gradients. */
const isContinued = ({pass, input}: PassRequest) =>
	pass === 'backward' || pass === 'close' || ((input as {inFlight?: readonly number[]})?.inFlight?.length ?? 0) > 0;

export class RespecCompute implements Compute {
	readonly #inner: Compute;
	readonly #specs = new Map<string, ActorSpec>();
	/** Actors that are being made anew: whatever is asked of them meanwhile waits. */
	readonly #reopening = new Map<string, Promise<unknown>>();

	constructor(inner: Compute) {
		this.#inner = inner;
	}

	/** Makes an actor of `spec` from its next whole pass on. */
	respec(actor: string, spec: ActorSpec): void {
		this.#specs.set(actor, spec);
	}

	run(request: PassRequest): Promise<PassResult> {
		const {actor, pass} = request;
		const reopening = this.#reopening.get(actor);
		if (reopening) return reopening.then(() => this.run(request));
		const spec = this.#specs.get(actor);
		if (!spec || isContinued(request)) return this.#inner.run(request);
		this.#specs.delete(actor);
		// One that begins a new life is made of it from the start.
		if (pass === 'open') return this.#inner.run(request);
		const reopened = this.#reopen(actor, spec).finally(() => this.#reopening.delete(actor));
		this.#reopening.set(
			actor,
			reopened.catch(() => undefined),
		);
		return reopened.then(() => this.#inner.run(request));
	}

	close(): Promise<void> {
		return this.#inner.close();
	}

	async #reopen(actor: string, spec: ActorSpec): Promise<void> {
		const saved = await this.#inner.run({actor, pass: 'save', input: {}, tensors: {}});
		await this.#inner.run({actor, pass: 'open', input: spec, tensors: {}});
		await this.#inner.run({actor, pass: 'restore', input: saved.output, tensors: saved.tensors});
	}
}
