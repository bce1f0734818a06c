/**
Names of tensors inside a pass: `<group>.<name>`.
*/
import type {NamedTensors} from '../../protocols/tensor.ts';

/** The tensors of a group under their own names. */
export function pick(tensors: NamedTensors, group: string): NamedTensors {
	const prefix = `${group}.`;
	const own = Object.entries(tensors).filter(([name]) => name.startsWith(prefix));
	return Object.fromEntries(own.map(([name, tensor]) => [name.slice(prefix.length), tensor]));
}

/** The tensors under names that begin with the group. */
export const prefixed = (group: string, tensors: NamedTensors): NamedTensors =>
	Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [`${group}.${name}`, tensor]));
