/**
Arithmetic of which the scenario says that some of it comes out wrong: a client whose uploads are scaled, or hold a NaN.
Everything else passes through untouched.
*/
import type {Fault} from '../../protocols/faults.ts';
import type {Compute, PassRequest, PassResult} from '../../protocols/ports.ts';
import {f32View, type NamedTensors, type Tensor, tensorOf} from '../../protocols/tensor.ts';
import {fromWireFormat, toWireFormat, type WireFormat} from '../../protocols/wire-formats.ts';

export class FaultyCompute implements Compute {
	readonly #inner: Compute;
	readonly #faults: readonly Fault[];
	/** The round in which each client trained last: an upload belongs to it. */
	readonly #rounds = new Map<string, number>();

	/** Faults that strike once and have. */
	readonly #spent = new Set<Fault>();
	readonly #nowMs: () => number;

	/** `faults` may change under way: those that are there when a pass begins count. */
	constructor(inner: Compute, faults: readonly Fault[], nowMs: () => number) {
		this.#inner = inner;
		this.#faults = faults;
		this.#nowMs = nowMs;
	}

	run(request: PassRequest): Promise<PassResult> {
		const {round} = (request.input ?? {}) as {round?: unknown};
		if (typeof round === 'number') this.#rounds.set(request.actor, round);
		return this.#faults.length === 0 ? this.#inner.run(request) : this.#runFaulty(request);
	}

	async #runFaulty(request: PassRequest): Promise<PassResult> {
		const {actor, pass} = request;
		const factor = pass === 'readAdapter' ? this.#factorOf(actor) : 1;
		const isPoisoned = this.#isPoisoned(actor, pass);
		const result = await this.#inner.run(request);
		const tensors = factor === 1 ? result.tensors : scaled(result.tensors, factor);
		return {...result, tensors: isPoisoned ? poisoned(tensors) : tensors};
	}

	#isPoisoned(actor: string, pass: string): boolean {
		const due = this.#faults.find(
			fault =>
				fault.kind === 'non-finite' &&
				fault.client === actor &&
				pass === (fault.tensor === 'adapter' ? 'readAdapter' : 'forward') &&
				fault.atMs <= this.#nowMs() &&
				!this.#spent.has(fault),
		);
		if (due) this.#spent.add(due);
		return due !== undefined;
	}

	close(): Promise<void> {
		return this.#inner.close();
	}

	#factorOf(actor: string): number {
		const round = this.#rounds.get(actor);
		if (round === undefined) return 1;
		return this.#faults.reduce(
			(factor, fault) =>
				fault.kind === 'scale-adapter' && fault.client === actor && fault.fromRound <= round
					? factor * fault.factor
					: factor,
			1,
		);
	}
}

const scaled = (tensors: NamedTensors, factor: number): NamedTensors =>
	Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, scaledTensor(tensor, factor)]));

/** In the format it came in. */
function scaledTensor(tensor: Tensor, factor: number): Tensor {
	const values = f32View(fromWireFormat(tensor)).map(value => value * factor);
	return toWireFormat(tensorOf(values, tensor.shape), tensor.dtype as WireFormat);
}

/** With a NaN in place of the first value of its first matrix of floats, if it has one: with the cut at 0 an adapter is empty. */
function poisoned(tensors: NamedTensors): NamedTensors {
	const found = Object.entries(tensors).find(([, {dtype}]) => dtype !== 'i32');
	if (!found) return tensors;
	const [name, tensor] = found;
	const values = f32View(fromWireFormat(tensor)).slice();
	values[0] = Number.NaN;
	return {...tensors, [name]: toWireFormat(tensorOf(values, tensor.shape), tensor.dtype as WireFormat)};
}
