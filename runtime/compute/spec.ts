/**
What an actor's arithmetic is made of: the part of the model it holds and how it trains. Plain JSON.
*/
import {stretchesBetween} from '../../protocols/cuts.ts';
import type {Dtype} from '../../protocols/tensor.ts';
import type {LoraSpec} from '../model/lora.ts';
import type {OptimizerSpec} from '../model/optimizer.ts';
import type {Schedule} from '../model/schedule.ts';
import type {Part} from '../model/split.ts';
import type {ActivationNoise} from './activation-noise.ts';

/** How an actor trains its adapter. */
export type TrainerSpec = {
	readonly part: Part;
	/** The model's end, where a client holds it too (the U shape). */
	readonly tailPart?: Part;
	readonly lora: LoraSpec;
	/** Of the run: initial A and dropout masks are keyed by it. */
	readonly seed: number;
	readonly optimizer: OptimizerSpec;
	readonly schedule: Schedule;
	/** Largest global norm of a gradient; 0 = no clipping. */
	readonly clipNorm: number;
	readonly labelSmoothing: number;
	/** FedProx: mu (w - w_g) is added to the gradient, w_g the adapter taken over last; default 0. */
	readonly proximalMu?: number;
	/** The last gradient is kept, to be applied again; default false. */
	readonly keepsGradient?: boolean;
	/** FFA-LoRA: A stays what it was at first, and only B is trained and sent; default false. */
	readonly isAFrozen?: boolean;
};

/**
How a client takes over a global adapter of a larger rank: its first rows and columns as they are, or with B scaled so that
their product counts what it counted there.
*/
export type Adoption = 'truncate' | 'rescale';

/** What noise for privacy is keyed by: who knows it can take the noise away again. Default the run's seed, which everybody knows. */
export type NoiseKey = string;

/** Of a main server whose clients have unlike cuts: its copy of the blocks between them trains and travels as a client's would. */
export type SharedSpec = {
	/** Ascending. */
	readonly cuts: readonly number[];
	readonly wireAdapter: Dtype;
	readonly optimizerAtRound: 'keep' | 'reset';
	readonly proximalMu?: number;
};

/** The parts a main server computes one after another; a single one where all cuts are alike. */
export function tailParts({part, shared}: {readonly part: Part; readonly shared?: SharedSpec}): readonly Part[] {
	if (!shared) return [part];
	const stretches = stretchesBetween(shared.cuts).map(stretch => ({...stretch, hasEmbedding: false, hasHead: false}));
	return [...stretches, {...part, from: shared.cuts.at(-1)!}];
}

/** The input of the pass `open`, by kind of actor. The optional tensors `initial.*` replace the keyed initial adapter. */
export type ActorSpec =
	| ({
			readonly kind: 'client';
			readonly wire: Dtype;
			/** Of the gradient at the model's end; default f32. */
			readonly wireGradient?: Dtype;
			readonly wireAdapter: Dtype;
			readonly optimizerAtRound: 'keep' | 'reset';
			/** Several batches are on their way at once; default false. */
			readonly isPipelined?: boolean;
			/** Default `truncate`. */
			readonly adoption?: Adoption;
			/** Added before activations leave; default none. */
			readonly activationNoise?: ActivationNoise;
			readonly noiseKey?: NoiseKey;
	  } & TrainerSpec)
	| ({
			readonly kind: 'main-server';
			readonly wire: Dtype;
			/** Of what goes to the clients' end of the model; default f32. */
			readonly wireActivations?: Dtype;
			readonly clientGradient: 'own' | 'weighted';
			readonly shared?: SharedSpec;
	  } & TrainerSpec)
	| {
			readonly kind: 'fed-server';
			readonly part: Part;
			readonly tailPart?: Part;
			readonly lora: LoraSpec;
			readonly seed: number;
			readonly wireAdapter: Dtype;
			readonly isAFrozen?: boolean;
			readonly noiseKey?: NoiseKey;
	  }
	| {
			readonly kind: 'evaluator';
			readonly lora: LoraSpec;
			readonly parts: readonly Part[];
			/** Whose A it must know itself, as no message holds it. */
			readonly frozenA?: {readonly part: Part; readonly tailPart?: Part; readonly seed: number};
	  }
	| {
			readonly kind: 'probe';
			/** Cuts whose head is compared with as well; default none. */
			readonly heads?: readonly number[];
	  };
