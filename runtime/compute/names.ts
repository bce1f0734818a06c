/**
Names of tensors inside a pass: `<group>.<name>`.
*/
import type {NamedTensors, Tensor} from '../../protocols/tensor.ts';

/** The tensors of a group under their own names. */
export function pick(tensors: NamedTensors, group: string): NamedTensors {
	const prefix = `${group}.`;
	const own = Object.entries(tensors).filter(([name]) => name.startsWith(prefix));
	return Object.fromEntries(own.map(([name, tensor]) => [name.slice(prefix.length), tensor]));
}

/** All groups at once: for whoever asks for each of many. */
export function groupsOf(tensors: NamedTensors): (group: string) => NamedTensors {
	const groups = new Map<string, Record<string, Tensor>>();
	for (const name in tensors) {
		const dot = name.indexOf('.');
		const group = name.slice(0, dot);
		let own = groups.get(group);
		if (!own) {
			own = {};
			groups.set(group, own);
		}
		own[name.slice(dot + 1)] = tensors[name]!;
	}
	return group => groups.get(group) ?? {};
}

/** The tensors under names that begin with the group. */
export const prefixed = (group: string, tensors: NamedTensors): NamedTensors =>
	Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [`${group}.${name}`, tensor]));
