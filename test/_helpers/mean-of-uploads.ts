/**
Shapes in place of training, and real floats in what clients upload, which the fed server's own arithmetic combines.
*/
import type {Compute, PassRequest, PassResult} from '../../protocols/ports.ts';
import type {NamedTensors} from '../../protocols/tensor.ts';
import {FedServerCompute} from '../../runtime/compute/fed-server.ts';
import type {ActorSpec} from '../../runtime/compute/spec.ts';
import type {ModelConfig} from '../../runtime/model/config.ts';
import {fromNamedTensors, toNamedTensors} from '../../runtime/model/lora.ts';

export class MeanOfUploads implements Compute {
	readonly #inner: Compute;
	readonly #config: ModelConfig;
	#server: FedServerCompute | undefined;
	/** The first value of the last aggregation's first matrix. */
	mean: number | undefined;
	/** Floats in an upload. */
	floats = 0;

	constructor(inner: Compute, config: ModelConfig) {
		this.#inner = inner;
		this.#config = config;
	}

	async run(request: PassRequest): Promise<PassResult> {
		const {actor, pass, input, tensors} = request;
		const isServer = actor === 'fed';
		if (isServer && pass === 'open') this.#server = new FedServerCompute(input as Spec, this.#config, {});
		if (isServer && pass === 'readAdapter') return this.#server!.readAdapter();
		if (isServer && pass === 'aggregate') {
			const result = this.#server!.aggregate(input, tensors);
			this.mean = Object.values(fromNamedTensors(result.tensors))[0]!.values[0];
			return result;
		}
		const result = await this.#inner.run(request);
		return pass === 'readAdapter' ? {...result, tensors: this.#filled(result.tensors, Number(actor.slice(1)))} : result;
	}

	close(): Promise<void> {
		return this.#inner.close();
	}

	#filled(tensors: NamedTensors, value: number): NamedTensors {
		const own = Object.entries(fromNamedTensors(tensors));
		this.floats = own.reduce((sum, [, {values}]) => sum + values.length, 0);
		return toNamedTensors(
			Object.fromEntries(
				own.map(([name, {shape, values}]) => [name, {shape, values: new Float32Array(values.length).fill(value)}]),
			),
		);
	}
}

type Spec = Extract<ActorSpec, {kind: 'fed-server'}>;
