/**
Arithmetic whose actors may be made of something else from some moment on: another learning rate, another wire format.
The change is made before an actor's next pass that begins anew; what it has trained so far is kept, bit for bit.
*/
import type {Compute, PassRequest, PassResult} from '../../protocols/ports.ts';
import type {ActorSpec} from '../compute/spec.ts';

/** A pass that works on what the one before it left. */
const isContinued = (pass: string) => pass === 'backward' || pass === 'close';

export class RespecCompute implements Compute {
	readonly #inner: Compute;
	readonly #specs = new Map<string, ActorSpec>();

	constructor(inner: Compute) {
		this.#inner = inner;
	}

	/** Makes an actor of `spec` from its next whole pass on. */
	respec(actor: string, spec: ActorSpec): void {
		this.#specs.set(actor, spec);
	}

	run(request: PassRequest): Promise<PassResult> {
		const {actor, pass} = request;
		const spec = this.#specs.get(actor);
		if (!spec || isContinued(pass)) return this.#inner.run(request);
		this.#specs.delete(actor);
		// One that begins a new life is made of it from the start.
		return pass === 'open' ? this.#inner.run(request) : this.#reopened(request, spec);
	}

	close(): Promise<void> {
		return this.#inner.close();
	}

	async #reopened(request: PassRequest, spec: ActorSpec): Promise<PassResult> {
		const {actor} = request;
		const saved = await this.#inner.run({actor, pass: 'save', input: {}, tensors: {}});
		await this.#inner.run({actor, pass: 'open', input: spec, tensors: {}});
		await this.#inner.run({actor, pass: 'restore', input: saved.output, tensors: saved.tensors});
		return this.#inner.run(request);
	}
}
