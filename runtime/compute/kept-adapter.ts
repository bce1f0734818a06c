/**
Adapters that come from elsewhere, a file or a checkpoint, as copies of their own: later steps change them in place.
*/
import type {NamedTensors} from '../../protocols/tensor.ts';
import type {ModelConfig} from '../model/config.ts';
import {type AdapterTensors, blocksOf, cloneAdapter, fromNamedTensors, initAdapter} from '../model/lora.ts';
import {pick} from './names.ts';
import type {TrainerSpec} from './spec.ts';

type Held = Pick<TrainerSpec, 'part' | 'tailPart'>;

/** The matrices of an adapter that belong to blocks an actor holds. */
export const heldOf = (adapter: AdapterTensors, {part, tailPart}: Held): AdapterTensors =>
	tailPart ? {...blocksOf(adapter, part), ...blocksOf(adapter, tailPart)} : blocksOf(adapter, part);

/** `initAdapter` for all blocks an actor holds. */
export const freshAdapter = (
	config: ModelConfig,
	{lora, part, tailPart}: Held & Pick<TrainerSpec, 'lora'>,
	seed: number | string,
): AdapterTensors => ({
	...initAdapter(config, lora, part, seed),
	...(tailPart && initAdapter(config, lora, tailPart, seed)),
});

/** The adapter an actor begins with: the given one, or the keyed random one of its blocks. */
export const firstAdapter = (
	spec: Held & Pick<TrainerSpec, 'lora' | 'seed'>,
	config: ModelConfig,
	initial: NamedTensors,
): AdapterTensors => copied(initial) ?? freshAdapter(config, spec, spec.seed);

/** The tensors of a checkpoint's group, or nothing when it has none. */
export const keptAdapter = (tensors: NamedTensors, group: string): AdapterTensors | undefined =>
	copied(pick(tensors, group));

const copied = (tensors: NamedTensors): AdapterTensors | undefined =>
	Object.keys(tensors).length > 0 ? cloneAdapter(fromNamedTensors(tensors)) : undefined;
