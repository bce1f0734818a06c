/**
A client's arithmetic: the head forward to the cut, back from it, or whole steps where it holds the whole model.
*/
import type {PassResult} from '../../protocols/ports.ts';
import {i32View, type NamedTensors} from '../../protocols/tensor.ts';
import type {SplitModel} from '../model/split.ts';
import {keyWords} from '../random.ts';
import {pick} from './names.ts';
import type {Passes} from './passes.ts';
import type {ActorSpec} from './spec.ts';
import {type SavedTrainer, Trainer} from './trainer.ts';
import {packed, packedAdapter, unpacked, unpackedAdapter} from './wire.ts';

type Spec = Extract<ActorSpec, {kind: 'client'}>;
type StepKey = {readonly round: number; readonly step: number};
type Saved = ReturnType<SplitModel['forward']>['saved'];

/** What every pass over a batch gets: the packed ids in `batch.ids` `[tokens]`, positions and labels `[targets]`. */
export type BatchInput = StepKey & {readonly lengths: readonly number[]};
type Applied = {readonly isApplied: boolean; readonly optimizerStep: number};

/** The key of a step's dropout masks: whose data it is and when, never who computes. */
export const dropoutKey = (seed: number, client: string, {round, step}: StepKey) =>
	keyWords(seed, client, round, step, 'dropout');

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

export class ClientCompute implements Passes {
	readonly #id: string;
	readonly #spec: Spec;
	readonly #model: SplitModel;
	readonly #trainer: Trainer;
	#saved: {readonly value: Saved; readonly tokens: number; readonly targets: number} | undefined;

	constructor(id: string, spec: Spec, model: SplitModel, initial: NamedTensors) {
		this.#id = id;
		this.#spec = spec;
		this.#model = model;
		this.#trainer = new Trainer(spec, model.config, initial);
	}

	/** Activations at the cut `[tokens, hidden]`, with the labels the main server needs for the loss. */
	forward(input: unknown, tensors: NamedTensors): PassResult {
		const {lengths, ...key} = input as BatchInput;
		this.#adopt(tensors);
		this.#drop();
		const {targetPositions, labels} = pick(tensors, 'batch');
		const ids = i32View(tensors['batch.ids']!);
		const {activations, saved} = this.#model.forward(
			{ids, lengths},
			this.#trainer.adapter,
			this.#dropout(key, ids.length),
		);
		this.#saved = {value: saved, tokens: ids.length, targets: labels!.shape[0]!};
		const wire = packed(activations, [ids.length, this.#model.config.hidden], this.#spec.wire);
		return {
			output: {lengths, targets: labels!.shape[0]},
			tensors: {activations: wire, targetPositions: targetPositions!, labels: labels!},
		};
	}

	/** Takes the gradient at the cut `[tokens, hidden]` back through the head and trains the adapter. */
	backward(input: unknown, tensors: NamedTensors): PassResult {
		const {isApplied, optimizerStep} = input as Applied;
		const {value, tokens, targets} = this.#saved!;
		this.#saved = undefined;
		const gradient = tensors['gradient.gradient'];
		// With nothing below the cut to train (c = 0) no gradient is sent.
		if (!gradient) {
			this.#model.release(value);
			return {output: {gradientNorm: 0, tokens}, tensors: {}};
		}
		const {gradients} = this.#model.backward(value, unpacked(gradient));
		const gradientNorm = this.#trainer.train(gradients[0]!, {weight: targets, isApplied, optimizerStep});
		return {output: {gradientNorm, tokens}, tensors: {}};
	}

	/** The last gradient of the adapter once more, for a step that the others took without this client. */
	reuse(input: unknown): PassResult {
		return {output: this.#trainer.trainAgain(input as Applied), tensors: {}};
	}

	/** A whole step without a main server. */
	localStep(input: unknown, tensors: NamedTensors): PassResult {
		const {lengths, isApplied, optimizerStep, ...key} = input as BatchInput & Applied;
		this.#adopt(tensors);
		const batch = pick(tensors, 'batch');
		const [ids, positions, labels] = [i32View(batch.ids!), i32View(batch.targetPositions!), i32View(batch.labels!)];
		const targets = {
			positions,
			labels,
			weights: new Float32Array(labels.length).fill(1 / labels.length),
			labelSmoothing: this.#spec.labelSmoothing,
		};
		const options = this.#dropout(key, ids.length);
		const {targetLosses, gradients} = this.#model.trainStep({ids, lengths}, targets, this.#trainer.adapter, options);
		const gradientNorm = this.#trainer.train(gradients[0]!, {weight: labels.length, isApplied, optimizerStep});
		const loss = sum([...targetLosses]) / labels.length;
		return {output: {loss, targets: labels.length, tokens: ids.length, gradientNorm}, tensors: {}};
	}

	readAdapter(_input: unknown, tensors: NamedTensors): PassResult {
		this.#adopt(tensors);
		return {output: {}, tensors: packedAdapter(this.#trainer.read(), this.#spec.wireAdapter)};
	}

	save(): PassResult {
		return this.#trainer.save();
	}

	restore(input: unknown, tensors: NamedTensors): PassResult {
		this.#trainer.restore(input as SavedTrainer, tensors);
		return {output: {}, tensors: {}};
	}

	close(): PassResult {
		this.#drop();
		return {output: {}, tensors: {}};
	}

	#adopt(tensors: NamedTensors): void {
		const adapter = pick(tensors, 'adapter');
		if (Object.keys(adapter).length > 0) this.#trainer.adopt(unpackedAdapter(adapter), this.#spec.optimizerAtRound);
	}

	#dropout(key: StepKey, rows: number) {
		const probability = this.#spec.lora.dropout;
		return {dropout: {probability, groups: [{key: dropoutKey(this.#spec.seed, this.#id, key), rows}]}};
	}

	/** A forward pass whose gradient never came keeps nothing. */
	#drop(): void {
		if (this.#saved) this.#model.release(this.#saved.value);
		this.#saved = undefined;
	}
}
