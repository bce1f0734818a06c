/**
The shape every actor's arithmetic has: passes by name, each from plain input and tensors to plain output and tensors.
*/
import type {PassResult} from '../../protocols/ports.ts';
import type {NamedTensors} from '../../protocols/tensor.ts';

export type Pass = (input: unknown, tensors: NamedTensors) => PassResult;

/** What every actor's arithmetic can do; the rest differs by kind and is found by name. */
export interface Passes {
	/** What a checkpoint holds of it. */
	save(): PassResult;
	/** Takes over what `save` gave. */
	restore(input: unknown, tensors: NamedTensors): PassResult;
	/** Frees what a pass kept. */
	close(): PassResult;
}
