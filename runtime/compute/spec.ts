/**
What an actor's arithmetic is made of: the part of the model it holds and how it trains. Plain JSON.
*/
import type {Dtype} from '../../protocols/tensor.ts';
import type {LoraSpec} from '../model/lora.ts';
import type {Schedule} from '../model/optimizer.ts';

/** Blocks `[from, to)` and what stands before and after them. */
export type Part = {
	readonly from: number;
	readonly to: number;
	readonly hasEmbedding: boolean;
	readonly hasHead: boolean;
};

export type OptimizerSpec =
	| {
			readonly kind: 'adamw';
			readonly beta1: number;
			readonly beta2: number;
			readonly eps: number;
			readonly weightDecay: number;
	  }
	| {readonly kind: 'sgd'};

/** How an actor trains its adapter. */
export type TrainerSpec = {
	readonly part: Part;
	readonly lora: LoraSpec;
	/** Of the run: initial A and dropout masks are keyed by it. */
	readonly seed: number;
	readonly optimizer: OptimizerSpec;
	readonly schedule: Schedule;
	/** Largest global norm of a gradient; 0 = no clipping. */
	readonly clipNorm: number;
	readonly labelSmoothing: number;
};

/** The input of the pass `open`, by kind of actor. The optional tensors `initial.*` replace the keyed initial adapter. */
export type ActorSpec =
	| ({
			readonly kind: 'client';
			readonly wire: Dtype;
			readonly wireAdapter: Dtype;
			readonly optimizerAtRound: 'keep' | 'reset';
	  } & TrainerSpec)
	| ({readonly kind: 'main-server'; readonly wire: Dtype; readonly clientGradient: 'own' | 'weighted'} & TrainerSpec)
	| {
			readonly kind: 'fed-server';
			readonly part: Part;
			readonly lora: LoraSpec;
			readonly seed: number;
			readonly wireAdapter: Dtype;
	  }
	| {readonly kind: 'evaluator'; readonly lora: LoraSpec; readonly parts: readonly Part[]};
