/**
The validation loss of a pair of adapters: the clients' and the main server's, over fixed rows. It never trains.
*/
import type {PassResult} from '../../protocols/ports.ts';
import {i32View, type NamedTensors} from '../../protocols/tensor.ts';
import type {Adapter, AdapterTensors} from '../model/lora.ts';
import type {SplitModel} from '../model/split.ts';
import {firstAdapter} from './kept-adapter.ts';
import {pick} from './names.ts';
import type {Passes} from './passes.ts';
import type {ActorSpec} from './spec.ts';
import {receivedAdapter} from './wire.ts';

type Spec = Extract<ActorSpec, {kind: 'evaluator'}>;
type EvaluateInput = {readonly batches: readonly {readonly lengths: readonly number[]}[]};

export class EvaluatorCompute implements Passes {
	readonly #spec: Spec;
	/** The whole model, head and tail, or the clients' head, the main server's blocks and the clients' end. */
	readonly #models: readonly SplitModel[];

	/** A of the clients' blocks, where it is not sent. */
	readonly #frozenA: AdapterTensors;

	constructor(spec: Spec, models: readonly SplitModel[], initial: NamedTensors = {}) {
		this.#spec = spec;
		this.#models = models;
		const {frozenA, lora} = spec;
		this.#frozenA = frozenA ? firstAdapter({...frozenA, lora}, models[0]!.config, initial) : {};
	}

	/** Mean loss over all targets, weighted by tokens. Adapters in groups `client` and `server`, batches in `0`, `1`, ... */
	evaluate(input: unknown, tensors: NamedTensors): PassResult {
		const client = this.#adapter(pick(tensors, 'client'), this.#frozenA);
		const server = this.#adapter(pick(tensors, 'server'));
		let [lossSum, targets] = [0, 0];
		(input as EvaluateInput).batches.forEach(({lengths}, index) => {
			const losses = this.#losses(pick(tensors, `${index}`), lengths, client, server);
			lossSum += losses.reduce((total, loss) => total + loss, 0);
			targets += losses.length;
		});
		const loss = targets > 0 ? lossSum / targets : 0;
		return {output: {loss, targets, perplexity: Math.exp(loss)}, tensors: {}};
	}

	save(): PassResult {
		return {output: {}, tensors: {}};
	}

	restore(): PassResult {
		return {output: {}, tensors: {}};
	}

	close(): PassResult {
		return {output: {}, tensors: {}};
	}

	#adapter(tensors: NamedTensors, frozen: AdapterTensors = {}): Adapter {
		const {alpha, isRankStabilised} = this.#spec.lora;
		const {adapter, overlay} = receivedAdapter(tensors);
		return {alpha, isRankStabilised, tensors: {...frozen, ...adapter}, overlay};
	}

	#losses(batch: NamedTensors, lengths: readonly number[], client: Adapter, server: Adapter): Float32Array {
		const ids = i32View(batch.ids!);
		const targets = {positions: i32View(batch.targetPositions!), labels: i32View(batch.labels!)};
		const [first, second, third] = this.#models as [SplitModel, SplitModel?, SplitModel?];
		if (!second) return first.evaluate({ids, lengths}, targets, client);
		const entering = {activations: first.infer({ids, lengths}, client), lengths};
		if (!third) return second.evaluate(entering, targets, server);
		return third.evaluate({activations: second.infer(entering, server), lengths}, targets, client);
	}
}
