/**
A pass as the machine invokes it: handles become tensors, the compute port runs, its result comes back as an event.
Leaving the state drops the result; the arithmetic itself cannot be called back.
*/
import {errorText} from '../../protocols/errors.ts';
import type {PassInput} from '../../protocols/events.ts';
import type {Compute, PassRequest, PassResult} from '../../protocols/ports.ts';
import type {NamedTensors} from '../../protocols/tensor.ts';
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
	/** Told what the machine gave the pass, before it runs. */
	readonly onStart?: (input: PassInput) => void;
	/** Told of the result, wanted or not, in the turn in which the machine hears of it. */
	readonly onEnd?: (result: PassResult) => void;
};

/** How a pass starts; its events are `<pass>.done` with the output's fields and `tensors`, or `pass.failed`. */
export function passActor({actor, pass, compute, store, override, onStart, onEnd}: PassOptions): PassStart {
	return ({input, sendBack}) => {
		let isWanted = true;
		onStart?.(input);
		const {tensors = {}, ...plain} = input;
		const groups = Object.entries(tensors).flatMap(([group, handle]) =>
			Object.entries(store.get(handle)).map(([name, tensor]) => [`${group}.${name}`, tensor] as const),
		);
		const request = {actor, pass, input: plain, tensors: Object.fromEntries(groups)};
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
	};
}

const perBatch = new Set(['mainStep', 'mainForward', 'mainBackward']);

/** The main server's step gives one handle a batch, so that each reply is kept and dropped alone. */
function doneEvent(pass: string, {output, tensors}: PassResult, store: TensorStore): {type: string} {
	const {losses, batches = losses?.length ?? 0} = output as {losses?: readonly number[]; batches?: number};
	const handles = perBatch.has(pass)
		? Object.fromEntries(
				Array.from({length: batches}, (_, index) => [`${index}`, store.put(own(tensors, `${index}.`))]),
			)
		: store.put(tensors);
	return {type: `${pass}.done`, ...(output as object), tensors: handles} as {type: string};
}

const own = (tensors: NamedTensors, prefix: string): NamedTensors =>
	Object.fromEntries(
		Object.entries(tensors)
			.filter(([name]) => name.startsWith(prefix))
			.map(([name, tensor]) => [name.slice(prefix.length), tensor]),
	);
