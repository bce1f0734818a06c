/**
How long a pass takes on a device: `FLOPs / flopsPerSecond x slowdown(t) + overheadMs`, the FLOPs from shapes alone. Pure.
*/
import type {PassRequest} from '../../protocols/ports.ts';
import {type ActorSpec, tailParts} from '../compute/spec.ts';
import type {ModelConfig} from '../model/config.ts';
import {type PassFlops, type PassShape, passFlops, totalOf} from '../model/flops.ts';
import type {LoraSpec} from '../model/lora.ts';
import type {Part} from '../model/split.ts';
import type {Device} from './devices.ts';

/** What the pass before it computed on: `backward` works on the shape of its `forward`. */
export type PassWork = {readonly flops: number; readonly lengths: readonly number[]; readonly targets: number};

type Input = {
	readonly lengths?: readonly number[];
	readonly parts?: readonly {readonly lengths: readonly number[]; readonly targets?: number; readonly cut?: number}[];
	readonly targets?: number;
};

const isTimed = new Set([
	'forward',
	'tailStep',
	'backward',
	'localStep',
	'mainStep',
	'mainForward',
	'mainBackward',
	'aggregate',
]);

const forwardOnly = new Set(['forward', 'mainForward']);
const backwardOnly = new Set(['backward', 'mainBackward']);

/** False for what costs nothing in virtual time: opening, reading an adapter, evaluating. */
export const takesTime = (pass: string): boolean => isTimed.has(pass);

/** The work of a pass of an actor; `last` is that of its pass before. An aggregation counts as no FLOPs. */
export function workOf(spec: ActorSpec, config: ModelConfig, request: PassRequest, last: PassWork): PassWork {
	if (spec.kind !== 'client' && spec.kind !== 'main-server') return {flops: 0, lengths: [], targets: 0};
	const {lengths, targets} = shapeOf(request, last);
	if (spec.kind === 'main-server' && spec.shared) return {flops: mixedFlops(spec, config, request), lengths, targets};
	const part = request.pass === 'tailStep' ? spec.tailPart! : spec.part;
	const {forward, backward} = knownFlops(config, part, {lengths, targets}, spec.lora);
	const parts = {
		forward: backwardOnly.has(request.pass) ? 0 : totalOf(forward),
		backward: forwardOnly.has(request.pass) ? 0 : totalOf(backward),
	};
	return {flops: parts.forward + parts.backward, lengths, targets};
}

/** Of a fleet's passes many have the same shape. */
const flopsByShape = new WeakMap<ModelConfig, Map<string, PassFlops>>();
const shapesMax = 10_000;

/** What `passFlops` gives, which depends on no more than what is in the key. */
function knownFlops(config: ModelConfig, part: Part, shape: Required<PassShape>, lora: LoraSpec): PassFlops {
	const {lengths, targets} = shape;
	let [tokens, longest] = [0, 0];
	for (const length of lengths) {
		tokens += length;
		if (length > longest) longest = length;
	}
	const place = `${part.from} ${part.to} ${part.hasEmbedding} ${part.hasHead} ${lora.rank} ${lora.targets}`;
	const key = `${place} ${lengths.length} ${tokens} ${longest} ${targets}`;
	let known = flopsByShape.get(config);
	if (!known || known.size > shapesMax) {
		known = new Map();
		flopsByShape.set(config, known);
	}
	const flops = known.get(key) ?? passFlops(config, part, shape, lora);
	known.set(key, flops);
	return flops;
}

/** Where cuts are unlike a batch passes the parts from its own cut on. */
function mixedFlops(
	spec: Extract<ActorSpec, {kind: 'main-server'}>,
	config: ModelConfig,
	{input, tensors}: PassRequest,
): number {
	const {parts = []} = input as Input;
	const flops = tailParts(spec).map(part => {
		const inside = [...parts.entries()].filter(([, {cut = 0}]) => cut <= part.from);
		const lengths = inside.flatMap(([, own]) => own.lengths);
		const targets = inside.reduce((sum, [index]) => sum + (tensors[`${index}.labels`]?.shape[0] ?? 0), 0);
		const {forward, backward} = passFlops(config, part, {lengths, targets}, spec.lora);
		return totalOf(forward) + totalOf(backward);
	});
	return flops.reduce((sum, part) => sum + part, 0);
}

function shapeOf({pass, input, tensors}: PassRequest, last: PassWork): Omit<PassWork, 'flops'> {
	const {lengths = [], parts, targets: own = 0} = input as Input;
	// Where several batches are on their way it says which it goes back through.
	if (backwardOnly.has(pass)) return lengths.length > 0 ? {lengths, targets: own} : last;
	if (!parts) return {lengths, targets: tensors['batch.labels']?.shape[0] ?? 0};
	const targets = parts.map((_, index) => tensors[`${index}.labels`]?.shape[0] ?? 0);
	return {lengths: parts.flatMap(part => part.lengths), targets: targets.reduce((sum, count) => sum + count, 0)};
}

/** Milliseconds at full speed, without the overhead. */
export const computeMs = (flops: number, {flopsPerSecond}: Device): number => (flops / flopsPerSecond) * 1000;
