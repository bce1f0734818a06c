/**
The fed server's arithmetic: combines uploads as the plan says. It never trains.
*/
import type {PassResult} from '../../protocols/ports.ts';
import type {NamedTensors} from '../../protocols/tensor.ts';
import {weightedMean} from '../model/combine.ts';
import type {ModelConfig} from '../model/config.ts';
import {cloneAdapter, fromNamedTensors, initAdapter, toNamedTensors} from '../model/lora.ts';
import {pick} from './names.ts';
import type {Passes} from './passes.ts';
import type {ActorSpec} from './spec.ts';
import {packedAdapter, unpackedAdapter} from './wire.ts';

type Spec = Extract<ActorSpec, {kind: 'fed-server'}>;
type Plan = {readonly kernel: 'mean'; readonly members: readonly {readonly weight: number}[]};

export class FedServerCompute implements Passes {
	readonly #spec: Spec;
	#adapter: NamedTensors;

	constructor(spec: Spec, config: ModelConfig, initial: NamedTensors) {
		this.#spec = spec;
		const isGiven = Object.keys(initial).length > 0;
		this.#adapter = toNamedTensors(
			isGiven ? cloneAdapter(fromNamedTensors(initial)) : initAdapter(config, spec.lora, spec.part, spec.seed),
		);
	}

	/** The next global adapter from uploads in groups `0`, `1`, ... in the order of the plan. */
	aggregate(input: unknown, tensors: NamedTensors): PassResult {
		const {members} = (input as {plan: Plan}).plan;
		const uploads = members.map((_, index) => fromNamedTensors(unpackedAdapter(pick(tensors, `${index}`))));
		this.#adapter = toNamedTensors(
			weightedMean(
				uploads,
				members.map(member => member.weight),
			),
		);
		return this.readAdapter();
	}

	readAdapter(): PassResult {
		return {output: {}, tensors: packedAdapter(this.#copy(), this.#spec.wireAdapter)};
	}

	save(): PassResult {
		return {output: {}, tensors: this.#copy()};
	}

	restore(_input: unknown, tensors: NamedTensors): PassResult {
		this.#adapter = tensors;
		return {output: {}, tensors: {}};
	}

	close(): PassResult {
		return {output: {}, tensors: {}};
	}

	/** What leaves is never the adapter itself: its memory may be handed to another thread. */
	#copy(): NamedTensors {
		return toNamedTensors(cloneAdapter(fromNamedTensors(this.#adapter)));
	}
}
