/**
Adapters that come from elsewhere, a file or a checkpoint, as copies of their own: later steps change them in place.
*/
import type {NamedTensors} from '../../protocols/tensor.ts';
import type {ModelConfig} from '../model/config.ts';
import {type AdapterTensors, cloneAdapter, fromNamedTensors, initAdapter} from '../model/lora.ts';
import {pick} from './names.ts';
import type {TrainerSpec} from './spec.ts';

/** The adapter an actor begins with: the given one, or the keyed random one of its blocks. */
export const firstAdapter = (
	{lora, part, seed}: Pick<TrainerSpec, 'lora' | 'part' | 'seed'>,
	config: ModelConfig,
	initial: NamedTensors,
): AdapterTensors => copied(initial) ?? initAdapter(config, lora, part, seed);

/** The tensors of a checkpoint's group, or nothing when it has none. */
export const keptAdapter = (tensors: NamedTensors, group: string): AdapterTensors | undefined =>
	copied(pick(tensors, group));

const copied = (tensors: NamedTensors): AdapterTensors | undefined =>
	Object.keys(tensors).length > 0 ? cloneAdapter(fromNamedTensors(tensors)) : undefined;
