/**
The main server's arithmetic: one pass forward and back through the tail over the batches of a step, whoever they are from.
*/
import type {CohortMember} from '../../protocols/messages.ts';
import type {PassResult} from '../../protocols/ports.ts';
import {i32View, type NamedTensors, type Tensor} from '../../protocols/tensor.ts';
import {weightedMean} from '../model/combine.ts';
import type {SplitModel} from '../model/split.ts';
import {dropoutKey} from './client-cohort.ts';
import {pick, prefixed} from './names.ts';
import type {Passes} from './passes.ts';
import type {ActorSpec} from './spec.ts';
import {type SavedTrainer, Trainer} from './trainer.ts';
import {packed, unpacked} from './wire.ts';

type Spec = Extract<ActorSpec, {kind: 'main-server'}>;

/** One batch of a step; `weight` is p_i. Its tensors are in group `<index>`. */
export type StepPart = {
	readonly client: string;
	readonly weight: number;
	readonly lengths: readonly number[];
	readonly round: number;
	readonly step: number;
};

type StepInput = {
	readonly parts: readonly StepPart[];
	readonly isApplied: boolean;
	readonly optimizerStep: number;
	/** Whose copy of the adapter is trained; default the one adapter of all. */
	readonly replica?: string;
};

type Saved = SavedTrainer & {readonly replicas: Readonly<Record<string, SavedTrainer>>};

type Joined = {
	readonly activations: Float32Array;
	readonly lengths: number[];
	readonly positions: Int32Array;
	readonly labels: Int32Array;
	readonly weights: Float32Array;
	/** First packed row and first target of each part, and one past the last. */
	readonly rowStarts: number[];
	readonly targetStarts: number[];
};

export class MainServerCompute implements Passes {
	readonly #spec: Spec;
	readonly #model: SplitModel;
	readonly #trainer: Trainer;
	/** SplitFed V1: copies by client, each with an optimizer of its own. */
	readonly #replicas = new Map<string, Trainer>();

	constructor(spec: Spec, model: SplitModel, initial: NamedTensors) {
		this.#spec = spec;
		this.#model = model;
		this.#trainer = new Trainer(spec, model.config, initial);
	}

	/**
	L = sum_i p_i L_i over the batches, one update, and each batch's gradient at the cut: of its own loss L_i
	(the default) or of p_i L_i. The rows of two batches never meet, so dL_i/dS_i is the rows' gradient over p_i.
	*/
	mainStep(input: unknown, tensors: NamedTensors): PassResult {
		const {parts, isApplied, optimizerStep, replica} = input as StepInput;
		const trainer = replica === undefined ? this.#trainer : this.#replica(replica);
		const joined = join(
			parts,
			parts.map((_, index) => pick(tensors, `${index}`)),
			this.#model.config.hidden,
		);
		const wantsInputGradient = this.#spec.part.from > 0;
		const {activations, lengths, positions, labels, weights} = joined;
		const {targetLosses, inputGradient, gradients} = this.#model.trainStep(
			{activations, lengths},
			{positions, labels, weights, labelSmoothing: this.#spec.labelSmoothing},
			trainer.adapter,
			{wantsInputGradient, ...this.#dropout(parts, joined)},
		);
		const gradientNorm = trainer.train(gradients[0]!, {weight: labels.length, isApplied, optimizerStep});
		const losses = parts.map((_, index) => mean(targetLosses, joined.targetStarts, index));
		const answers = parts.map(
			(part, index) => [`${index}.gradient`, this.#answer(part, inputGradient, joined, index)] as const,
		);
		return {
			output: {losses, gradientNorm, isApplied},
			tensors: wantsInputGradient ? Object.fromEntries(answers as [string, Tensor][]) : {},
		};
	}

	readAdapter(): PassResult {
		return {output: {}, tensors: this.#trainer.read()};
	}

	/** The mean of the copies becomes the adapter of all, and every copy goes on from it with its own moments. */
	averageReplicas(input: unknown): PassResult {
		const {members} = input as {members: readonly CohortMember[]};
		const adapters = members.map(({client}) => this.#replica(client).adapter.tensors);
		const mean = weightedMean(
			adapters,
			members.map(({weight}) => weight),
		);
		for (const trainer of [this.#trainer, ...this.#replicas.values()]) trainer.adopt({adapter: mean}, 'keep');
		return {output: {}, tensors: {}};
	}

	save(): PassResult {
		const saved = [...this.#replicas].map(([client, trainer]) => [client, trainer.save()] as const);
		const {output, tensors} = this.#trainer.save();
		const groups = saved.map(([client, {tensors: own}]) => prefixed(`replica.${client}`, own));
		const replicas = Object.fromEntries(saved.map(([client, {output: own}]) => [client, own]));
		return {output: {...output, replicas}, tensors: Object.assign({}, tensors, ...groups) as NamedTensors};
	}

	restore(input: unknown, tensors: NamedTensors): PassResult {
		const {replicas, ...own} = input as Saved;
		this.#trainer.restore(own, tensors);
		for (const [client, saved] of Object.entries(replicas))
			this.#replica(client).restore(saved, pick(tensors, `replica.${client}`));
		return {output: {}, tensors: {}};
	}

	close(): PassResult {
		return {output: {}, tensors: {}};
	}

	/** A client's copy, made of the adapter of all when it is first asked for. */
	#replica(client: string): Trainer {
		const known = this.#replicas.get(client);
		if (known) return known;
		const made = new Trainer(this.#spec, this.#model.config, this.#trainer.read());
		this.#replicas.set(client, made);
		return made;
	}

	/** The rows of one batch as a tensor of the wire format; f32 rows are a view of the step's gradient. */
	#answer(
		{weight}: StepPart,
		gradient: Float32Array | undefined,
		{rowStarts}: Joined,
		index: number,
	): Tensor | undefined {
		if (!gradient) return undefined;
		const {hidden} = this.#model.config;
		const rows = gradient.subarray(rowStarts[index]! * hidden, rowStarts[index + 1]! * hidden);
		const isRescaled = this.#spec.clientGradient === 'own' && weight !== 1 && weight > 0;
		if (isRescaled) for (let i = 0; i < rows.length; i++) rows[i]! /= weight;
		return packed(rows, [rows.length / hidden, hidden], this.#spec.wire);
	}

	#dropout(parts: readonly StepPart[], {rowStarts}: Joined) {
		const groups = parts.map((part, index) => ({
			key: dropoutKey(this.#spec.seed, part.client, part),
			rows: rowStarts[index + 1]! - rowStarts[index]!,
		}));
		return {dropout: {probability: this.#spec.lora.dropout, groups}};
	}
}

/** The batches of a step as one packed batch; a single batch is not copied. */
function join(parts: readonly StepPart[], groups: readonly NamedTensors[], hidden: number): Joined {
	const activations = groups.map(group => unpacked(group.activations!));
	const positions = groups.map(group => i32View(group.targetPositions!));
	const labels = groups.map(group => i32View(group.labels!));
	const rowStarts = starts(activations.map(values => values.length / hidden));
	const targetStarts = starts(labels.map(values => values.length));
	const joined = {
		activations: parts.length === 1 ? activations[0]! : new Float32Array(rowStarts.at(-1)! * hidden),
		lengths: parts.flatMap(part => part.lengths),
		positions: new Int32Array(targetStarts.at(-1)!),
		labels: new Int32Array(targetStarts.at(-1)!),
		weights: new Float32Array(targetStarts.at(-1)!),
		rowStarts,
		targetStarts,
	};
	parts.forEach((part, index) => {
		const [row, target] = [rowStarts[index]!, targetStarts[index]!];
		if (parts.length > 1) joined.activations.set(activations[index]!, row * hidden);
		joined.positions.set(
			positions[index]!.map(position => position + row),
			target,
		);
		joined.labels.set(labels[index]!, target);
		joined.weights.fill(part.weight / labels[index]!.length, target, targetStarts[index + 1]!);
	});
	return joined;
}

function starts(extents: readonly number[]): number[] {
	const result = [0];
	for (const extent of extents) result.push(result.at(-1)! + extent);
	return result;
}

function mean(values: Float32Array, bounds: readonly number[], index: number): number {
	const own = values.subarray(bounds[index]!, bounds[index + 1]!);
	return own.reduce((total, value) => total + value, 0) / own.length;
}
