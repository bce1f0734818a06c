/**
A pass as the machine invokes it: handles become tensors, the compute port runs, its result comes back as an event.
Leaving the state drops the result; the arithmetic itself cannot be called back.
*/
import {errorText} from '../../protocols/errors.ts';
import type {PassInput} from '../../protocols/events.ts';
import type {Compute, PassRequest, PassResult} from '../../protocols/ports.ts';
import type {NamedTensors, Tensor, TensorHandle} from '../../protocols/tensor.ts';
import {groupsOf} from '../compute/names.ts';
import type {PassStart} from './machine.ts';
import type {TensorStore} from './tensor-store.ts';

/** Stands before the compute port: may add to the request, or answer it alone. */
export type PassOverride = (request: PassRequest, compute: Compute) => Promise<PassResult>;

type PassOptions = {
	readonly actor: string;
	readonly pass: string;
	readonly compute: Compute;
	readonly store: TensorStore;
	readonly override?: PassOverride | undefined;
	/** Told of the result, wanted or not, in the turn in which the machine hears of it. */
	readonly onEnd?: ((result: PassResult) => void) | undefined;
};

/** Starts a pass; its events are `<pass>.done` with the output's fields and `tensors`, or `pass.failed`. */
export function startPass(
	{actor, pass, compute, store, override, onEnd}: PassOptions,
	{input, sendBack}: Parameters<PassStart>[0],
): () => void {
	let isWanted = true;
	const {tensors = {}, ...plain} = input;
	const request = {actor, pass, input: plain, tensors: grouped(tensors, store)};
	const running = override ? override(request, compute) : compute.run(request);
	running.then(
		result => {
			onEnd?.(result);
			if (isWanted) sendBack(doneEvent(pass, result, store));
		},
		error => isWanted && sendBack({type: 'pass.failed', pass, error: errorText(error)} as {type: string}),
	);
	return () => {
		isWanted = false;
	};
}

function grouped(handles: NonNullable<PassInput['tensors']>, store: TensorStore): NamedTensors {
	const tensors: Record<string, Tensor> = {};
	for (const group in handles) {
		const own = store.get(handles[group]!);
		for (const name in own) tensors[`${group}.${name}`] = own[name]!;
	}
	return tensors;
}

const perBatch = new Set(['mainStep', 'mainForward', 'mainBackward']);

/** The main server's step gives one handle a batch, so that each reply is kept and dropped alone. */
function doneEvent(pass: string, {output, tensors}: PassResult, store: TensorStore): {type: string} {
	const {losses, batches = losses?.length ?? 0} = output as {losses?: readonly number[]; batches?: number};
	const handles = perBatch.has(pass) ? putBatches(tensors, batches, store) : store.put(tensors);
	return {type: `${pass}.done`, ...(output as object), tensors: handles} as {type: string};
}

/** A handle for each batch's own; one without tensors has an empty one. */
function putBatches(tensors: NamedTensors, count: number, store: TensorStore): Record<string, TensorHandle> {
	const own = groupsOf(tensors);
	const handles: Record<string, TensorHandle> = {};
	for (let index = 0; index < count; index++) handles[index] = store.put(own(`${index}`));
	return handles;
}
