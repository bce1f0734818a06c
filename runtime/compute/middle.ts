/**
The main server's blocks where clients hold both ends of the model: a forward over the batches of a step, kept until the gradients of
the clients' ends have come, and the way back. Rows of two batches never meet.
*/
import type {PassResult} from '../../protocols/ports.ts';
import type {NamedTensors, Tensor} from '../../protocols/tensor.ts';
import type {Adapter, AdapterTensors} from '../model/lora.ts';
import type {SplitModel} from '../model/split.ts';
import {dropoutKey} from './client-cohort.ts';
import type {ActorSpec} from './spec.ts';
import {packed, unpacked} from './wire.ts';

type Spec = Extract<ActorSpec, {kind: 'main-server'}>;
type Part = {
	readonly client: string;
	readonly weight: number;
	readonly lengths: readonly number[];
	readonly round: number;
	readonly step: number;
};

/** A batch of the way back: its place in the forward. */
export type PlacedPart = Part & {readonly place: number; readonly targets: number};

type Kept = {readonly saved: ReturnType<SplitModel['forward']>['saved']; readonly starts: readonly number[]};

export class Middle {
	readonly #model: SplitModel;
	readonly #spec: Spec;
	#kept: Kept | undefined;

	constructor(model: SplitModel, spec: Spec) {
		this.#model = model;
		this.#spec = spec;
	}

	/** `<i>.activations` `[tokens, hidden]` behind the last block, for each batch. */
	forward(parts: readonly Part[], tensors: NamedTensors, adapter: Adapter): PassResult {
		this.forget();
		const {hidden} = this.#model.config;
		const starts = [0];
		for (const {lengths} of parts) starts.push(starts.at(-1)! + lengths.reduce((sum, length) => sum + length, 0));
		const all = new Float32Array(starts.at(-1)! * hidden);
		for (const index of parts.keys()) all.set(unpacked(tensors[`${index}.activations`]!), starts[index]! * hidden);
		const groups = parts.map((part, index) => ({
			key: dropoutKey(this.#spec.seed, part.client, part),
			rows: starts[index + 1]! - starts[index]!,
		}));
		const dropout = {probability: this.#spec.lora.dropout, groups};
		const batch = {activations: all, lengths: parts.flatMap(({lengths}) => lengths)};
		const {activations, saved} = this.#model.forward(batch, adapter, {dropout});
		this.#kept = {saved, starts};
		const dtype = this.#spec.wireActivations ?? 'f32';
		const rows = parts.map((_, index) => {
			const own = activations.slice(starts[index]! * hidden, starts[index + 1]! * hidden);
			return [`${index}.activations`, packed(own, [own.length / hidden, hidden], dtype)] as const;
		});
		return {output: {batches: parts.length}, tensors: Object.fromEntries(rows)};
	}

	/**
	The gradients of `sum_i p_i L_i`, from dL_i at the clients' ends, and each batch's gradient at its cut, `<i>.gradient`. A batch of
	the forward that nobody finishes counts as nothing.
	*/
	backward(
		parts: readonly PlacedPart[],
		tensors: NamedTensors,
	): {readonly gradients: AdapterTensors; readonly answers: NamedTensors} {
		if (!this.#kept) throw new Error('The main server has no forward pass to go back through');
		const {saved, starts} = this.#kept;
		this.#kept = undefined;
		const {hidden} = this.#model.config;
		const gradient = new Float32Array(starts.at(-1)! * hidden);
		for (const [index, {place, weight}] of parts.entries()) {
			const own = unpacked(tensors[`${index}.gradient`]!);
			const from = starts[place]! * hidden;
			for (let at = 0; at < own.length; at++) gradient[from + at] = weight * own[at]!;
		}
		const wantsInputGradient = this.#model.part.from > 0;
		const {gradients, inputGradient} = this.#model.backward(saved, gradient, {wantsInputGradient});
		const answers = parts.map(({place, weight}, index) => {
			const rows = inputGradient?.subarray(starts[place]! * hidden, starts[place + 1]! * hidden);
			return [`${index}.gradient`, rows && this.#answer(rows, weight)] as const;
		});
		return {
			gradients: gradients[0]!,
			answers: inputGradient ? Object.fromEntries(answers as [string, Tensor][]) : {},
		};
	}

	/** Frees what a forward keeps whose gradients do not come. */
	forget(): void {
		if (this.#kept) this.#model.release(this.#kept.saved);
		this.#kept = undefined;
	}

	#answer(rows: Float32Array, weight: number): Tensor {
		const isRescaled = this.#spec.clientGradient === 'own' && weight !== 1 && weight > 0;
		if (isRescaled) for (let at = 0; at < rows.length; at++) rows[at]! /= weight;
		return packed(rows, [rows.length / this.#model.config.hidden, this.#model.config.hidden], this.#spec.wire);
	}
}
