/**
Adapters of forward passes whose gradients have not come, in a checkpoint: a pass that is done again after a restart uses what it
used before, so that its gradient is the same.
*/
import type {NamedTensors} from '../../protocols/tensor.ts';
import {type AdapterTensors, cloneAdapter, fromNamedTensors, toNamedTensors} from '../model/lora.ts';
import type {ClientState} from './client-cohort.ts';
import {pick, prefixed} from './names.ts';

const group = 'stash';

/** What a checkpoint holds of them: tensors `stash.<round>/<step>.<matrix>`; none where one batch at a time is on its way. */
export function savedStash({spec, kept, stashed}: ClientState): NamedTensors {
	if (!spec.isPipelined) return {};
	const used: (readonly [string, AdapterTensors])[] = [
		...stashed,
		...[...kept].map(([name, {adapter}]) => [name, adapter.tensors] as const),
	];
	const saved = used.map(([name, tensors]) => prefixed(name, toNamedTensors(cloneAdapter(tensors))));
	return prefixed(group, Object.assign({}, ...saved));
}

/** Takes over what `savedStash` gave. */
export function restoreStash({stashed}: ClientState, tensors: NamedTensors): void {
	const saved = pick(tensors, group);
	for (const name of new Set(Object.keys(saved).map(key => key.slice(0, key.indexOf('.')))))
		stashed.set(name, cloneAdapter(fromNamedTensors(pick(saved, name))));
}
