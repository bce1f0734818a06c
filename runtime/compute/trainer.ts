/**
An adapter in training: its tensors, its optimizer and the gradients that wait for the next optimizer step.
*/
import type {NamedTensors} from '../../protocols/tensor.ts';
import type {ModelConfig} from '../model/config.ts';
import {
	type Adapter,
	type AdapterTensors,
	cloneAdapter,
	fromNamedTensors,
	onlyB,
	toNamedTensors,
	zerosLike,
} from '../model/lora.ts';
import {clipByGlobalNorm, initialOptimizerState, type OptimizerState, optimizerStep} from '../model/optimizer.ts';
import {learningRateAt} from '../model/schedule.ts';
import {firstAdapter, keptAdapter} from './kept-adapter.ts';
import {pick, prefixed} from './names.ts';
import type {TrainerSpec} from './spec.ts';

export class Trainer {
	readonly #spec: TrainerSpec;
	#tensors: AdapterTensors;
	#optimizer: OptimizerState = initialOptimizerState();
	/** w_g of FedProx. */
	#reference: AdapterTensors | undefined;
	/** Gradients since the last optimizer step, summed with their weights. */
	#sum: AdapterTensors | undefined;
	#weight = 0;
	/** The last batch's gradient and its weight, where the spec asks for it. */
	#last: {readonly gradients: AdapterTensors; readonly weight: number} | undefined;
	/** Deltas over the frozen weights. */
	#overlay: AdapterTensors | undefined;

	constructor(spec: TrainerSpec, config: ModelConfig, initial: NamedTensors) {
		this.#spec = spec;
		this.#tensors = firstAdapter(spec, config, initial);
	}

	get adapter(): Adapter {
		const {alpha, isRankStabilised} = this.#spec.lora;
		return {alpha, isRankStabilised, tensors: this.#tensors, overlay: this.#overlay};
	}

	/** Gradients wait for the next optimizer step. */
	get isGathering(): boolean {
		return this.#sum !== undefined;
	}

	/** Takes over a global adapter, what it lacks stays; the moments stay unless `reset`. */
	adopt(
		{adapter, overlay}: {readonly adapter: AdapterTensors; readonly overlay?: AdapterTensors | undefined},
		optimizerAtRound: 'keep' | 'reset',
	): void {
		this.#tensors = {...this.#tensors, ...cloneAdapter(adapter)};
		this.#overlay = overlay && cloneAdapter(overlay);
		if (this.#spec.proximalMu) this.#reference = cloneAdapter(this.#tensors);
		if (optimizerAtRound === 'reset') this.#optimizer = initialOptimizerState();
	}

	/** A copy of what is trained, which later steps do not change. */
	read(): NamedTensors {
		return toNamedTensors(cloneAdapter(this.#trained(this.#tensors)));
	}

	/** All matrices, or B alone. */
	#trained(tensors: AdapterTensors): AdapterTensors {
		return this.#spec.isAFrozen ? onlyB(tensors) : tensors;
	}

	/**
	Adds a batch's gradients; batches of one optimizer step are averaged by `weight` (tokens in the loss).
	Returns the global norm of what was applied, before clipping; 0 when nothing was applied yet.
	*/
	train(
		all: AdapterTensors,
		{weight, isApplied, optimizerStep: position}: {weight: number; isApplied: boolean; optimizerStep: number},
	): number {
		const gradients = this.#trained(all);
		// What is applied is changed in place.
		if (this.#spec.keepsGradient) this.#last = {gradients: cloneAdapter(gradients), weight};
		const isOnly = isApplied && !this.#sum;
		if (!isOnly) this.#accumulate(gradients, weight);
		if (!isApplied) return 0;
		const applied = isOnly ? gradients : this.#takeMean();
		this.#pull(applied);
		// An infinite bound measures without clipping.
		const norm = clipByGlobalNorm(applied, this.#spec.clipNorm || Number.POSITIVE_INFINITY);
		const lr = learningRateAt(this.#spec.schedule, position);
		this.#optimizer = optimizerStep(this.#spec.optimizer, this.#optimizer, {
			parameters: this.#trained(this.#tensors),
			gradients: applied,
			lr,
		});
		return norm;
	}

	/** `train` with the last gradient once more; nothing while there was none. */
	trainAgain(applied: {isApplied: boolean; optimizerStep: number}): {isApplied: boolean; gradientNorm: number} {
		if (!this.#last) return {isApplied: false, gradientNorm: 0};
		const {gradients, weight} = this.#last;
		const gradientNorm = this.train(cloneAdapter(gradients), {weight, ...applied});
		return {isApplied: applied.isApplied, gradientNorm};
	}

	/** Adds the gradient of FedProx's `mu / 2 ||w - w_g||^2` (Li et al., MLSys 2020). */
	#pull(gradients: AdapterTensors): void {
		const {proximalMu: mu = 0} = this.#spec;
		if (mu === 0 || !this.#reference) return;
		for (const [name, {values}] of Object.entries(gradients)) {
			const [own, global] = [this.#tensors[name]!.values, this.#reference[name]!.values];
			for (let i = 0; i < values.length; i++) values[i]! += mu * (own[i]! - global[i]!);
		}
	}

	#accumulate(gradients: AdapterTensors, weight: number): void {
		this.#sum ??= zerosLike(gradients);
		for (const [name, {values}] of Object.entries(gradients)) {
			const sum = this.#sum[name]!.values;
			for (let i = 0; i < sum.length; i++) sum[i]! += weight * values[i]!;
		}
		this.#weight += weight;
	}

	/** In order of name, so that sums over the matrices do not depend on where they come from: a step or a checkpoint. */
	#takeMean(): AdapterTensors {
		const sum = Object.fromEntries(Object.entries(this.#sum!).toSorted(([a], [b]) => (a < b ? -1 : 1)));
		for (const {values} of Object.values(sum)) for (let i = 0; i < values.length; i++) values[i]! /= this.#weight;
		this.#sum = undefined;
		this.#weight = 0;
		return sum;
	}

	/** Everything a checkpoint needs: adapter, moments, gradients that wait. */
	save(): {output: SavedTrainer; tensors: NamedTensors} {
		const {step, moments} = this.#optimizer;
		return {
			output: {optimizerSteps: step, weight: this.#weight, lastWeight: this.#last?.weight ?? 0},
			tensors: {
				...prefixed('adapter', toNamedTensors(cloneAdapter(this.#tensors))),
				...(this.#overlay ? prefixed('overlay', toNamedTensors(cloneAdapter(this.#overlay))) : {}),
				...prefixed('optimizer', toNamedTensors(cloneAdapter(moments))),
				...(this.#sum ? prefixed('sum', toNamedTensors(cloneAdapter(this.#sum))) : {}),
				...(this.#last ? prefixed('last', toNamedTensors(cloneAdapter(this.#last.gradients))) : {}),
				...(this.#reference ? prefixed('reference', toNamedTensors(cloneAdapter(this.#reference))) : {}),
			},
		};
	}

	restore({optimizerSteps, weight, lastWeight}: SavedTrainer, tensors: NamedTensors): void {
		this.#tensors = cloneAdapter(fromNamedTensors(pick(tensors, 'adapter')));
		this.#optimizer = {step: optimizerSteps, moments: cloneAdapter(fromNamedTensors(pick(tensors, 'optimizer')))};
		this.#sum = keptAdapter(tensors, 'sum');
		this.#reference = keptAdapter(tensors, 'reference');
		this.#overlay = keptAdapter(tensors, 'overlay');
		this.#weight = weight;
		const last = keptAdapter(tensors, 'last');
		this.#last = last && {gradients: last, weight: lastWeight};
	}
}

export type SavedTrainer = {readonly optimizerSteps: number; readonly weight: number; readonly lastWeight: number};
