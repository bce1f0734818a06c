/**
The main server's arithmetic: one pass forward and back through the tail over the batches of a step, whoever they are from.
*/
import type {CohortMember} from '../../protocols/messages.ts';
import type {PassResult} from '../../protocols/ports.ts';
import {i32View, type NamedTensors, type Tensor} from '../../protocols/tensor.ts';
import {weightedMean} from '../model/combine.ts';
import {blocksOf, fromNamedTensors, toNamedTensors} from '../model/lora.ts';
import type {SplitModel} from '../model/split.ts';
import {dropoutKey} from './client-cohort.ts';
import {Middle, type PlacedPart} from './middle.ts';
import {pick, prefixed} from './names.ts';
import type {Passes} from './passes.ts';
import type {ActorSpec, TrainerSpec} from './spec.ts';
import {down, forget, type Stretch, type TailBatch, trainStretches, up} from './tail.ts';
import {type SavedTrainer, Trainer} from './trainer.ts';
import {packed, packedAdapter, receivedAdapter, unpacked} from './wire.ts';

type Spec = Extract<ActorSpec, {kind: 'main-server'}>;

/** One batch of a step; `weight` is p_i. Its tensors are in group `<index>`. */
export type StepPart = {
	readonly client: string;
	readonly weight: number;
	readonly lengths: readonly number[];
	readonly round: number;
	readonly step: number;
	/** Where cuts are unlike: the block at which its rows enter. */
	readonly cut?: number;
};

type StepInput = {
	readonly parts: readonly StepPart[];
	readonly isApplied: boolean;
	readonly optimizerStep: number;
	/** Whose copy of the adapter is trained; default the one adapter of all. */
	readonly replica?: string;
};

type Saved = SavedTrainer & {
	readonly replicas: Readonly<Record<string, SavedTrainer>>;
	/** Of the blocks between unlike cuts. */
	readonly stretches?: readonly SavedTrainer[];
};

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
	/** The blocks between unlike cuts; none where cuts are alike. */
	readonly #stretches: readonly Stretch[];
	/** Where clients have the labels: what a forward keeps for its backward. */
	#middle: Middle | undefined;
	/** SplitFed V1: copies by client, each with an optimizer of its own. */
	readonly #replicas = new Map<string, Trainer>();

	/** `models`: those of `tailParts`. */
	constructor(spec: Spec, models: readonly SplitModel[], initial: NamedTensors) {
		this.#spec = spec;
		this.#model = models.at(-1)!;
		const {config} = this.#model;
		const trainerOf = ({part}: SplitModel, changes: Partial<TrainerSpec>) =>
			new Trainer({...spec, ...changes, part}, config, toNamedTensors(blocksOf(fromNamedTensors(initial), part)));
		this.#trainer = trainerOf(this.#model, {});
		const {proximalMu} = spec.shared ?? {};
		this.#stretches = models.slice(0, -1).map(model => ({
			model,
			trainer: trainerOf(model, proximalMu === undefined ? {} : {proximalMu}),
		}));
	}

	/**
	L = sum_i p_i L_i over the batches, one update, and each batch's gradient at the cut: of its own loss L_i
	(the default) or of p_i L_i. The rows of two batches never meet, so dL_i/dS_i is the rows' gradient over p_i.
	*/
	mainStep(input: unknown, tensors: NamedTensors): PassResult {
		const {parts: planned, isApplied, optimizerStep, replica} = input as StepInput;
		const trainer = replica === undefined ? this.#trainer : this.#replica(replica);
		const order = [...planned.keys()].toSorted((a, b) => this.#cutOf(planned[a]!) - this.#cutOf(planned[b]!));
		const parts = order.map(place => planned[place]!);
		const groups = order.map(place => pick(tensors, `${place}`));
		// What is computed in place is a copy.
		const joined = join(parts, groups, this.#model.config.hidden, this.#stretches.length > 0);
		const {targetLosses, inputGradient, gradients, passed, batch} = this.#tailStep(parts, joined, trainer);
		const applied = {isApplied, optimizerStep};
		const below = inputGradient ? down(passed, batch, inputGradient) : [];
		const norms = [
			trainer.train(gradients[0]!, {weight: joined.labels.length, ...applied}),
			...trainStretches(passed, below, batch, applied),
		];
		const losses = planned.map((_, place) => mean(targetLosses, joined.targetStarts, order.indexOf(place)));
		const answers = planned.flatMap((part, place) => {
			const answer = this.#cutOf(part) > 0 && this.#answer(part, inputGradient, joined, order.indexOf(place));
			return answer ? [[`${place}.gradient`, answer] as const] : [];
		});
		return {
			output: {losses, gradientNorm: Math.hypot(...norms), isApplied},
			tensors: Object.fromEntries(answers),
		};
	}

	#cutOf({cut}: StepPart): number {
		return cut ?? this.#spec.part.from;
	}

	/** Up through the stretches between the cuts, and the step of what is above all of them. */
	#tailStep(parts: readonly StepPart[], joined: Joined, trainer: Trainer) {
		const {activations, lengths, positions, labels, weights} = joined;
		const {dropout} = this.#dropout(parts, joined);
		const batch: TailBatch = {
			...joined,
			lengths: parts.map(part => part.lengths),
			batches: parts.map(part => ({weight: part.weight, cut: this.#cutOf(part)})),
		};
		const passed = up(this.#stretches, batch, dropout);
		try {
			const step = this.#model.trainStep(
				{activations, lengths},
				{positions, labels, weights, labelSmoothing: this.#spec.labelSmoothing},
				trainer.adapter,
				{wantsInputGradient: this.#model.part.from > 0, dropout},
			);
			return {...step, passed, batch};
		} catch (error) {
			forget(passed);
			throw error;
		}
	}

	/** The U shape: the batches through the blocks between the clients' head and end, kept for the way back. */
	mainForward(input: unknown, tensors: NamedTensors): PassResult {
		const {parts, replica} = input as StepInput;
		this.#middle ??= new Middle(this.#model, this.#spec);
		const {adapter} = replica === undefined ? this.#trainer : this.#replica(replica);
		return this.#middle.forward(parts, tensors, adapter);
	}

	/** Back from the gradients that the clients sent, and the update. */
	mainBackward(input: unknown, tensors: NamedTensors): PassResult {
		const {parts, isApplied, optimizerStep, replica} = input as Omit<StepInput, 'parts'> & {parts: PlacedPart[]};
		const trainer = replica === undefined ? this.#trainer : this.#replica(replica);
		const {gradients, answers} = this.#middle!.backward(parts, tensors);
		const weight = parts.reduce((sum, {targets}) => sum + targets, 0);
		const gradientNorm = trainer.train(gradients, {weight, isApplied, optimizerStep});
		return {output: {batches: parts.length, gradientNorm, isApplied}, tensors: answers};
	}

	readAdapter(): PassResult {
		return {output: {}, tensors: Object.assign({}, ...this.#trainers.map(trainer => trainer.read())) as NamedTensors};
	}

	/** The blocks that clients of larger cuts hold too. */
	readShared(): PassResult {
		const read = Object.assign({}, ...this.#stretches.map(({trainer}) => trainer.read())) as NamedTensors;
		return {output: {}, tensors: packedAdapter(read, this.#spec.shared!.wireAdapter)};
	}

	/** Takes over those blocks of a global adapter, as a client does. */
	adoptShared(_input: unknown, tensors: NamedTensors): PassResult {
		const {adapter} = receivedAdapter(pick(tensors, 'adapter'));
		for (const {model, trainer} of this.#stretches)
			trainer.adopt({adapter: blocksOf(adapter, model.part)}, this.#spec.shared!.optimizerAtRound);
		return {output: {}, tensors: {}};
	}

	get #trainers(): readonly Trainer[] {
		return [...this.#stretches.map(({trainer}) => trainer), this.#trainer];
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
		const between = this.#stretches.map(({trainer}) => trainer.save());
		const stretches = between.map(({output: own}) => own);
		const own = between.map((one, index) => prefixed(`stretch.${index}`, one.tensors));
		return {
			output: {...output, replicas, ...(stretches.length > 0 && {stretches})},
			tensors: Object.assign({}, tensors, ...groups, ...own) as NamedTensors,
		};
	}

	restore(input: unknown, tensors: NamedTensors): PassResult {
		const {replicas, stretches = [], ...own} = input as Saved;
		this.#trainer.restore(own, tensors);
		for (const [index, saved] of stretches.entries())
			this.#stretches[index]!.trainer.restore(saved, pick(tensors, `stretch.${index}`));
		for (const [client, saved] of Object.entries(replicas))
			this.#replica(client).restore(saved, pick(tensors, `replica.${client}`));
		return {output: {}, tensors: {}};
	}

	close(): PassResult {
		this.#middle?.forget();
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

/** The batches of a step as one packed batch; a single batch is copied only when asked for. */
function join(parts: readonly StepPart[], groups: readonly NamedTensors[], hidden: number, isCopied: boolean): Joined {
	const activations = groups.map(group => unpacked(group.activations!));
	const positions = groups.map(group => i32View(group.targetPositions!));
	const labels = groups.map(group => i32View(group.labels!));
	const rowStarts = starts(activations.map(values => values.length / hidden));
	const targetStarts = starts(labels.map(values => values.length));
	const isView = parts.length === 1 && !isCopied;
	const joined = {
		activations: isView ? activations[0]! : new Float32Array(rowStarts.at(-1)! * hidden),
		lengths: parts.flatMap(part => part.lengths),
		positions: new Int32Array(targetStarts.at(-1)!),
		labels: new Int32Array(targetStarts.at(-1)!),
		weights: new Float32Array(targetStarts.at(-1)!),
		rowStarts,
		targetStarts,
	};
	parts.forEach((part, index) => {
		const [row, target] = [rowStarts[index]!, targetStarts[index]!];
		if (!isView) joined.activations.set(activations[index]!, row * hidden);
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
