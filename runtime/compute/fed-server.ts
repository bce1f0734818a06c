/**
The fed server's arithmetic: combines uploads as the plan says. It never trains.
*/
import type {AggregationKernel, AggregationPlan} from '../../protocols/aggregation.ts';
import type {PassResult} from '../../protocols/ports.ts';
import type {NamedTensors} from '../../protocols/tensor.ts';
import {meanByBlock, weightedMean} from '../model/combine.ts';
import {noisedMean} from '../model/combine-private.ts';
import {normWeights, truncatedProducts, zeroPadded} from '../model/combine-ranks.ts';
import {clipDelta, coordinateMedian, multiKrum, trimmedMean} from '../model/combine-robust.ts';
import type {ModelConfig} from '../model/config.ts';
import {type AdapterTensors, cloneAdapter, fromNamedTensors, onlyB, toNamedTensors} from '../model/lora.ts';
import {addedDelta, meanAndResidual, stacked} from '../model/overlay.ts';
import {initialMoments, type ServerMoments, serverStep} from '../model/server-optimizer.ts';
import {randomStream} from '../random.ts';
import {firstAdapter, freshAdapter, keptAdapter} from './kept-adapter.ts';
import {groupsOf, pick, prefixed} from './names.ts';
import type {Passes} from './passes.ts';
import type {ActorSpec} from './spec.ts';
import {overlayGroup, packedAdapter, unpackedAdapter} from './wire.ts';

type Spec = Extract<ActorSpec, {kind: 'fed-server'}>;

type Combined = {
	readonly uploads: readonly AdapterTensors[];
	readonly weights: readonly number[];
	/** What each upload began from, as its client got it. */
	readonly bases: () => readonly AdapterTensors[];
	/** The weighted mean, block by block where blocks have unlike owners. */
	readonly mean: () => AdapterTensors;
};

export class FedServerCompute implements Passes {
	readonly #spec: Spec;
	#adapter: NamedTensors;
	/** Deltas over the frozen weights, from the first rule that makes one on. */
	#overlay: AdapterTensors | undefined;
	#overlays = 0;
	/** Noised aggregations so far: each has noise of its own. */
	#noised = 0;
	readonly #config: ModelConfig;
	/** Of a server optimizer, from its first step on. */
	#moments: ServerMoments | undefined;

	constructor(spec: Spec, config: ModelConfig, initial: NamedTensors) {
		this.#spec = spec;
		this.#config = config;
		const first = firstAdapter(spec, config, initial);
		this.#adapter = toNamedTensors(spec.isAFrozen ? onlyB(first) : first);
	}

	/** The next global adapter from uploads in groups `0`, `1`, ... in the order of the plan. */
	aggregate(input: unknown, tensors: NamedTensors): PassResult {
		const {members, kernel, shared = []} = (input as {plan: AggregationPlan}).plan;
		const own = groupsOf(tensors);
		const uploads = members.map((_, index) => fromNamedTensors(unpackedAdapter(own(`${index}`))));
		const weights = members.map(member => member.weight);
		const bases = () => members.map((_, index) => fromNamedTensors(unpackedAdapter(own(`base${index}`))));
		const copy = fromNamedTensors(unpackedAdapter(pick(tensors, 'shared')));
		const mean = () =>
			shared.length > 0 ? meanByBlock(uploads, weights, {copy, weights: shared}) : weightedMean(uploads, weights);
		this.#adapter = toNamedTensors(this.#combine(kernel, {uploads, weights, bases, mean}));
		return this.readAdapter();
	}

	#combine(kernel: AggregationKernel, {uploads, weights, bases, mean}: Combined): AdapterTensors {
		const adapter = fromNamedTensors(this.#adapter);
		const {lora} = this.#spec;
		switch (kernel.kind) {
			case 'zero-padded-mean': {
				const own = kernel.weights === 'norm' ? normWeights(uploads) : weights;
				return zeroPadded(uploads, own, lora.rank);
			}
			case 'truncated-products':
				return truncatedProducts(uploads, weights, {rank: lora.rank, scaling: lora});
			case 'stack':
				this.#lay(stacked(uploads, weights, lora));
				// The next adapter adds to what is fused: B is zero again, and A looks another way than before.
				return freshAdapter(this.#config, this.#spec, `${this.#spec.seed}.${this.#overlays}`);
			case 'mean-and-residual': {
				const {mean: factors, residual} = meanAndResidual(uploads, weights, lora);
				this.#lay(residual);
				return factors;
			}
			case 'mean':
				return mean();
			case 'median':
				return coordinateMedian(uploads);
			case 'trimmed-mean':
				return trimmedMean(uploads, kernel.trim);
			case 'multi-krum':
				return multiKrum(uploads, kernel.byzantine, kernel.count);
			case 'clipped':
				return weightedMean(
					uploads.map(upload => clipDelta(upload, adapter, kernel.normMax)),
					weights,
				);
			case 'noised-mean': {
				const {noiseKey, seed} = this.#spec;
				return noisedMean(uploads, adapter, kernel, randomStream(noiseKey ?? seed, this.#noised++, 'adapter noise'));
			}
			case 'mix':
				return weightedMean([adapter, uploads[0]!], [1 - kernel.mixing, kernel.mixing]);
			case 'add-changes': {
				const shares = weights.map((weight, index) => kernel.learningRate * weight * kernel.scales[index]!);
				const changes = [...uploads, ...bases()];
				return weightedMean([adapter, ...changes], [1, ...shares, ...shares.map(share => -share)]);
			}
			default:
				this.#moments ??= initialMoments(kernel, adapter);
				return serverStep(kernel, this.#moments, {adapter, mean: mean()});
		}
	}

	#lay(delta: AdapterTensors): void {
		this.#overlay = addedDelta(this.#overlay, delta);
		this.#overlays++;
	}

	/** With the whole overlay, so that who joins late or missed a round needs nothing else. */
	readAdapter(): PassResult {
		return {output: {}, tensors: packedAdapter({...this.#copy(), ...this.#overlayCopy()}, this.#spec.wireAdapter)};
	}

	save(): PassResult {
		const {m, v} = this.#moments ?? {m: {}, v: {}};
		const moments = {
			...prefixed('m', toNamedTensors(cloneAdapter(m))),
			...prefixed('v', toNamedTensors(cloneAdapter(v))),
		};
		return {
			output: {overlays: this.#overlays, ...(this.#noised > 0 && {noised: this.#noised})},
			tensors: {...prefixed('adapter', this.#copy()), ...this.#overlayCopy(), ...moments},
		};
	}

	restore(input: unknown, tensors: NamedTensors): PassResult {
		const {overlays = 0, noised = 0} = input as {readonly overlays?: number; readonly noised?: number};
		this.#overlays = overlays;
		this.#noised = noised;
		this.#overlay = keptAdapter(tensors, overlayGroup);
		this.#adapter = pick(tensors, 'adapter');
		const [m, v] = [keptAdapter(tensors, 'm'), keptAdapter(tensors, 'v')];
		this.#moments = m && v && {m, v};
		return {output: {}, tensors: {}};
	}

	close(): PassResult {
		return {output: {}, tensors: {}};
	}

	#overlayCopy(): NamedTensors {
		return prefixed(overlayGroup, toNamedTensors(cloneAdapter(this.#overlay ?? {})));
	}

	/** What leaves is never the adapter itself: its memory may be handed to another thread. */
	#copy(): NamedTensors {
		return toNamedTensors(cloneAdapter(fromNamedTensors(this.#adapter)));
	}
}
