/**
The compute port without arithmetic: every pass gives tensors of the right shapes and formats, all zero, and made-up losses.
For measuring and testing what goes on around the arithmetic at scale; nothing is trained.
*/
import type {AggregationPlan} from '../../protocols/aggregation.ts';
import type {Compute, PassRequest, PassResult} from '../../protocols/ports.ts';
import type {Dtype, NamedTensors, Tensor} from '../../protocols/tensor.ts';
import type {ModelConfig} from '../model/config.ts';
import {adapterNames, placeOf} from '../model/lora.ts';
import {prefixed} from './names.ts';
import type {ActorSpec} from './spec.ts';
import {overlayGroup, packed} from './wire.ts';

type Input = {
	readonly lengths?: readonly number[];
	readonly round?: number;
	readonly step?: number;
	readonly isApplied?: boolean;
	readonly plan?: AggregationPlan;
	readonly parts?: readonly Part[];
};

type Part = {
	readonly lengths: readonly number[];
	readonly round: number;
	readonly step: number;
	readonly cut?: number;
};

type Kept = {readonly spec: ActorSpec; readonly adapter: NamedTensors; overlay: NamedTensors; tokens: number};

const total = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0);

/** Falls with the steps, so that curves have a shape. */
const lossAt = ({round = 0, step = 0}: {readonly round?: number; readonly step?: number}) =>
	1 + 2 / (1 + step + 10 * round);

export class ShapesCompute implements Compute {
	readonly #config: ModelConfig;
	readonly #actors = new Map<string, Kept>();
	/** Zeros by shape and format: they are only read, so that all may share them. */
	readonly #zeros = new Map<string, Tensor>();

	constructor(config: ModelConfig) {
		this.#config = config;
	}

	run({actor, pass, input, tensors}: PassRequest): Promise<PassResult> {
		if (pass === 'open') {
			const spec = input as ActorSpec;
			this.#actors.set(actor, {spec, adapter: this.#adapterOf(spec), overlay: {}, tokens: 0});
			return Promise.resolve({output: {}, tensors: {}});
		}
		const kept = this.#actors.get(actor);
		if (!kept) return Promise.reject(new Error(`Actor ${actor} has no pass \`${pass}\`: it was never opened`));
		const {output = {}, tensors: given = {}} = this.#answer(kept, pass, input as Input, tensors);
		return Promise.resolve({output, tensors: given});
	}

	close(): Promise<void> {
		this.#actors.clear();
		return Promise.resolve();
	}

	#answer(kept: Kept, pass: string, input: Input, tensors: NamedTensors): {output?: object; tensors?: NamedTensors} {
		const {lengths = [], parts = [], isApplied = true} = input;
		const {spec, adapter} = kept;
		const wire: Dtype = 'wire' in spec ? spec.wire : 'f32';
		const targets = tensors['batch.labels']?.shape[0] ?? 0;
		switch (pass) {
			case 'forward': {
				const {'batch.targetPositions': targetPositions, 'batch.labels': labels} = tensors;
				kept.tokens = total(lengths);
				const activations = this.#rows(kept.tokens, wire);
				const sent = 'tailPart' in spec && spec.tailPart ? {} : {targetPositions: targetPositions!, labels: labels!};
				return {
					output: {lengths, targets},
					tensors: {activations, ...sent},
				};
			}
			case 'tailStep': {
				const dtype = (spec as Extract<ActorSpec, {kind: 'client'}>).wireGradient ?? 'f32';
				return {output: {loss: lossAt(input)}, tensors: {gradient: this.#rows(total(lengths), dtype)}};
			}
			case 'mainForward': {
				const dtype = (spec as Extract<ActorSpec, {kind: 'main-server'}>).wireActivations ?? 'f32';
				const rows = parts.map((part, index) => [`${index}.activations`, this.#rows(total(part.lengths), dtype)]);
				return {output: {batches: parts.length}, tensors: Object.fromEntries(rows) as NamedTensors};
			}
			case 'mainBackward': {
				const rows = parts.map((part, index) => [`${index}.gradient`, this.#rows(total(part.lengths), wire)]);
				const output = {batches: parts.length, gradientNorm: 1, isApplied};
				return {output, tensors: Object.fromEntries(rows) as NamedTensors};
			}
			case 'backward':
				return {output: {tokens: lengths.length > 0 ? total(lengths) : kept.tokens, gradientNorm: 1}};
			case 'localStep':
				return {output: {loss: lossAt(input), targets, tokens: total(lengths), gradientNorm: 1}};
			case 'mainStep': {
				const gradients = parts.flatMap((part, index) =>
					part.cut === 0 ? [] : [[`${index}.gradient`, this.#rows(total(part.lengths), wire)] as const],
				);
				const output = {losses: parts.map(lossAt), gradientNorm: 1, isApplied};
				return {output, tensors: Object.fromEntries(gradients)};
			}
			case 'averageReplicas':
			case 'adoptShared':
				return {};
			case 'readShared': {
				const {cuts, wireAdapter} = (spec as Extract<ActorSpec, {kind: 'main-server'}>).shared!;
				const [from, to] = [cuts[0]!, cuts.at(-1)!];
				const isShared = (name: string) => Number(name.split('.')[1]) >= from && Number(name.split('.')[1]) < to;
				const shared = Object.entries(adapter).filter(([name]) => isShared(name));
				const sent = shared.map(([name, {shape}]) => [name, this.#zero(shape, wireAdapter)] as const);
				return {tensors: Object.fromEntries(sent)};
			}
			case 'reuse':
				return {output: {isApplied, gradientNorm: 1}};
			case 'aggregate':
				kept.overlay = this.#overlayAfter(kept, input, tensors);
				return {tensors: {...adapter, ...prefixed(overlayGroup, kept.overlay)}};
			case 'evaluate':
				return {output: {loss: 2, perplexity: Math.exp(2), targets: 1}};
			default:
				return {tensors: {...adapter, ...prefixed(overlayGroup, kept.overlay)}};
		}
	}

	/** As large as the real one: the ranks of the uploads side by side, bounded by the full matrix. */
	#overlayAfter({spec, adapter, overlay}: Kept, {plan}: Input, tensors: NamedTensors): NamedTensors {
		const kind = plan?.kernel.kind;
		if ((kind !== 'stack' && kind !== 'mean-and-residual') || spec.kind !== 'fed-server') return overlay;
		const grown: Record<string, Tensor> = {};
		for (const name of Object.keys(adapter).filter(matrix => matrix.endsWith('.A'))) {
			const other = name.replace(/A$/, 'B');
			const [inputs, outputs] = [adapter[name]!.shape[1]!, adapter[other]!.shape[0]!];
			const uploaded = plan!.members.map((_, index) => tensors[`${index}.${name}`]!.shape[0]!);
			const own = kind === 'stack' ? 0 : adapter[name]!.shape[0]!;
			const rank = Math.min(total(uploaded) + own + (overlay[name]?.shape[0] ?? 0), inputs, outputs);
			grown[name] = this.#zero([rank, inputs], spec.wireAdapter);
			grown[other] = this.#zero([outputs, rank], spec.wireAdapter);
		}
		return grown;
	}

	#rows(rows: number, dtype: Dtype): Tensor {
		return this.#zero([rows, this.#config.hidden], dtype);
	}

	#zero(shape: readonly number[], dtype: Dtype): Tensor {
		const key = `${dtype}:${shape.join('x')}`;
		const known = this.#zeros.get(key);
		if (known) return known;
		const made = packed(new Float32Array(shape.reduce((product, extent) => product * extent, 1)), shape, dtype);
		this.#zeros.set(key, made);
		return made;
	}

	#adapterOf(spec: ActorSpec): NamedTensors {
		if (spec.kind === 'evaluator' || spec.kind === 'probe') return {};
		const {part, lora} = spec;
		const dtype: Dtype = 'wireAdapter' in spec ? spec.wireAdapter : 'f32';
		const isAFrozen = 'isAFrozen' in spec && spec.isAFrozen;
		const tensors: Record<string, Tensor> = {};
		const tail = 'tailPart' in spec ? spec.tailPart : undefined;
		const held = [part, ...(tail ? [tail] : [])].flatMap(({from, to}) =>
			Array.from({length: to - from}, (_, index) => from + index),
		);
		for (const block of held) {
			for (const projection of lora.targets) {
				const {inputs, outputs} = placeOf(this.#config, projection);
				const {a, b} = adapterNames(block, projection);
				if (!isAFrozen) tensors[a] = this.#zero([lora.rank, inputs], dtype);
				tensors[b] = this.#zero([outputs, lora.rank], dtype);
			}
		}
		return tensors;
	}
}
