/**
The passes of clients over one or many of them at once: one pass through the frozen weights, the adapters side by side, of whatever
ranks. Rows of two clients never meet, so that each gets what it would get alone, within float tolerance.
*/
import {CutlayerError} from '../../protocols/errors.ts';
import type {PassResult} from '../../protocols/ports.ts';
import {i32View, type NamedTensors} from '../../protocols/tensor.ts';
import type {AdapterRows} from '../model/adapted-linear.ts';
import type {DropoutGroup} from '../model/dropout.ts';
import {type Adapter, type AdapterTensors, cloneAdapter} from '../model/lora.ts';
import {atRank} from '../model/ranks.ts';
import type {SplitModel} from '../model/split.ts';
import {keyWords, randomStream} from '../random.ts';
import {beforeClipping, type Clipped, noised} from './activation-noise.ts';
import {heldOf} from './kept-adapter.ts';
import {pick} from './names.ts';
import type {ActorSpec} from './spec.ts';
import type {Trainer} from './trainer.ts';
import {packed, receivedAdapter, unpacked} from './wire.ts';

type Spec = Extract<ActorSpec, {kind: 'client'}>;
type StepKey = {readonly round: number; readonly step: number};

/** What every pass over a batch gets: the packed ids in `batch.ids` `[tokens]`, positions and labels `[targets]`. */
export type BatchInput = StepKey & {
	readonly lengths: readonly number[];
	/** Where several batches are on their way: their steps, whose forward passes are still needed. */
	readonly inFlight?: readonly number[];
};
/** Whether the optimizer takes a step with this pass, and which. */
export type Applied = {readonly isApplied: boolean; readonly optimizerStep: number};

/** A forward pass over some clients, kept until the last of them has gone back or forgotten it. */
type Group = {
	readonly model: SplitModel;
	readonly saved: ReturnType<SplitModel['forward']>['saved'];
	readonly owners: readonly (readonly number[])[];
	/** Places of those whose gradient has not come. */
	readonly waiting: Set<number>;
};

/** What a client keeps of a forward pass; `adapter` as it was then. */
type Kept = {
	readonly group: Group;
	readonly place: number;
	readonly dropout: DropoutGroup;
	readonly targets: number;
	readonly adapter: Adapter;
	/** Rows that were clipped before noise was added to them. */
	readonly clipped?: Clipped | undefined;
};

export type ClientState = {
	readonly id: string;
	readonly spec: Spec;
	readonly model: SplitModel;
	readonly trainer: Trainer;
	/** By step; more than one where several batches are on their way. */
	readonly kept: Map<string, Kept>;
	/** From a checkpoint, by step: adapters that forward passes which are done again are to use. */
	readonly stashed: Map<string, AdapterTensors>;
	/** The model's end, where the client holds it, and its gradients for the step under way. */
	readonly tail: SplitModel | undefined;
	tailGradients: AdapterTensors | undefined;
};

/** A client with what its pass is given. */
export type Member = {readonly state: ClientState; readonly input: unknown; readonly tensors: NamedTensors};

/** The key of a step's dropout masks: whose data it is and when, never who computes. */
export const dropoutKey = (seed: number, client: string, {round, step}: StepKey) =>
	keyWords(seed, client, round, step, 'dropout');

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

/** Takes over a global adapter that came with a pass, if one did. */
export function adopt({spec, trainer}: ClientState, tensors: NamedTensors): void {
	const given = pick(tensors, 'adapter');
	if (Object.keys(given).length === 0) return;
	const {lora, isAFrozen, adoption, optimizerAtRound} = spec;
	const {adapter, overlay} = receivedAdapter(given);
	const fitting = isAFrozen ? adapter : atRank(adapter, lora.rank, adoption === 'rescale' ? lora : undefined);
	// Clients of larger cuts have blocks of which this one knows nothing.
	trainer.adopt({adapter: heldOf(fitting, spec), overlay}, optimizerAtRound);
}

/** The name of a step among those of which something is kept. */
const stepName = ({round, step}: StepKey) => `${round}/${step}`;

/** A forward pass whose gradient never came keeps nothing. */
export function forget({kept}: ClientState, name: string): void {
	const one = kept.get(name);
	kept.delete(name);
	if (!one?.group.waiting.delete(one.place) || one.group.waiting.size > 0) return;
	one.group.model.release(one.group.saved);
}

export function forgetAll(state: ClientState): void {
	for (const name of [...state.kept.keys()]) forget(state, name);
	state.stashed.clear();
}

/** Before a forward pass: what no batch on its way needs is forgotten. */
function forgetOthers(state: ClientState, input: unknown): void {
	const {round, step, inFlight} = input as BatchInput;
	if (!inFlight) {
		forgetAll(state);
		return;
	}
	const needed = new Set(inFlight.map(other => stepName({round, step: other})));
	for (const name of [...state.kept.keys()]) if (!needed.has(name)) forget(state, name);
	needed.add(stepName({round, step}));
	for (const name of [...state.stashed.keys()]) if (!needed.has(name)) state.stashed.delete(name);
}

/** What a forward pass adapts with: as it is now, or as it was when the pass was done before. */
function forwardAdapter({state, input}: Member): Adapter {
	const {trainer, spec, stashed} = state;
	const tensors = stashed.get(stepName(input as BatchInput));
	if (tensors) return {...trainer.adapter, tensors};
	// It is changed in place, before the gradient of this pass comes.
	const isMoving = spec.isPipelined || spec.keepsGradient;
	return isMoving ? {...trainer.adapter, tensors: cloneAdapter(trainer.adapter.tensors)} : trainer.adapter;
}

type Batch = {
	readonly lengths: readonly number[];
	readonly ids: Int32Array;
	readonly positions: Int32Array;
	readonly labels: Int32Array;
	readonly dropout: DropoutGroup;
};

function batchOf({state: {spec, id}, input, tensors}: Member): Batch {
	const {lengths, ...key} = input as BatchInput;
	const {ids, targetPositions, labels} = pick(tensors, 'batch');
	const values = i32View(ids!);
	const dropout = {key: dropoutKey(spec.seed, id, key), rows: values.length};
	return {lengths, ids: values, positions: i32View(targetPositions!), labels: i32View(labels!), dropout};
}

/** The batches one after the other, and what adapts each. */
function joined(members: readonly Member[], batches: readonly Batch[], own: readonly Adapter[]) {
	const adapters: AdapterRows[] = own.map((adapter, place) => ({adapter, rows: batches[place]!.ids.length}));
	const groups = batches.map(({dropout}) => dropout);
	return {
		batch: {ids: concatenated(batches.map(({ids}) => ids)), lengths: batches.flatMap(({lengths}) => lengths)},
		adapters,
		dropout: {probability: members[0]!.state.spec.lora.dropout, groups},
	};
}

/** The parts one after the other; a single one is not copied. */
function concatenated<A extends Int32Array | Float32Array>(parts: readonly A[]): A {
	const [first] = parts;
	if (parts.length === 1) return first!;
	const whole = new (first!.constructor as new (length: number) => A)(sum(parts.map(part => part.length)));
	let at = 0;
	for (const part of parts) {
		whole.set(part, at);
		at += part.length;
	}
	return whole;
}

/** Activations at the cut `[tokens, hidden]` of each, with the labels the main server needs for the loss. */
export function forward(members: readonly Member[]): PassResult[] {
	for (const {state, input, tensors} of members) {
		adopt(state, tensors);
		forgetOthers(state, input);
	}
	const {model, spec} = members[0]!.state;
	const batches = members.map(batchOf);
	const used = members.map(forwardAdapter);
	const {batch, adapters, dropout} = joined(members, batches, used);
	const {activations, saved} = model.forward(batch, adapters, {dropout});
	const owners = batches.map(({lengths}) => lengths);
	const group: Group = {model, saved, owners, waiting: new Set(members.keys())};
	const {hidden} = model.config;
	let at = 0;
	return members.map((member, place) => {
		const {state, input, tensors} = member;
		const {lengths, ids, labels, dropout: own} = batches[place]!;
		const exact = activations.subarray(at, at + ids.length * hidden);
		at += ids.length * hidden;
		const {rows, clipped} = withNoise(member, exact);
		const name = stepName(input as BatchInput);
		forget(state, name);
		state.stashed.delete(name);
		state.kept.set(name, {group, place, dropout: own, targets: labels.length, adapter: used[place]!, clipped});
		const wire = packed(rows === exact && members.length > 1 ? rows.slice() : rows, [ids.length, hidden], spec.wire);
		state.tailGradients = undefined;
		// Where the client has the loss nothing of its targets leaves it.
		const {targetPositions, labels: given} = pick(tensors, 'batch');
		const sent = state.tail ? {} : {targetPositions: targetPositions!, labels: given!};
		return {
			output: {lengths, targets: labels.length},
			tensors: {activations: wire, ...sent},
		};
	});
}

/** What leaves of the rows `[tokens, hidden]`; who asked for no noise sends them as they are. */
function withNoise(
	{state: {spec, id, model}, input}: Member,
	rows: Float32Array,
): {readonly rows: Float32Array; readonly clipped?: Clipped} {
	const {activationNoise, noiseKey, seed} = spec;
	if (!activationNoise) return {rows};
	const {round, step} = input as BatchInput;
	const stream = randomStream(noiseKey ?? seed, id, round, step, 'activation noise');
	return noised(rows, model.config.hidden, activationNoise, stream);
}

/** Takes the gradients at the cut `[tokens, hidden]` back through the head and trains the adapters. */
export function backward(members: readonly Member[]): PassResult[] {
	const results = new Map<Member, PassResult>();
	const groups = new Map<Group, Member[]>();
	for (const member of members) {
		const {group, place} = keptOf(member);
		// With nothing below the cut to train (c = 0) no gradient is sent.
		if (!member.tensors['gradient.gradient']) {
			results.set(member, withoutHead(member, tokensOf(group, place)));
			forget(member.state, nameOf(member));
		} else groups.set(group, [...(groups.get(group) ?? []), member]);
	}
	for (const [group, own] of groups) {
		for (const [member, result] of backwardOf(group, own)) results.set(member, result);
	}
	return members.map(member => results.get(member)!);
}

const tokensOf = ({owners}: Group, place: number) => sum(owners[place]!);

/** With nothing to train below the cut the end of the model is trained alone, where the client holds it. */
function withoutHead(member: Member, tokens: number): PassResult {
	const {state, input} = member;
	const {targets} = keptOf(member);
	const {isApplied, optimizerStep} = input as Applied;
	const gradientNorm = state.tailGradients
		? state.trainer.train(state.tailGradients, {weight: targets, isApplied, optimizerStep})
		: 0;
	state.tailGradients = undefined;
	return {output: {gradientNorm, tokens}, tensors: {}};
}

/** Under which name the forward pass of a backward pass is kept: a single one whatever step its batch is sent as by now. */
const nameOf = ({state: {spec, kept}, input}: Member): string =>
	spec.isPipelined ? stepName(input as StepKey) : ([...kept.keys()][0] ?? '');

function keptOf(member: Member): Kept {
	const kept = member.state.kept.get(nameOf(member));
	if (kept) return kept;
	throw new Error(`${member.state.id} has no forward pass to go back through`);
}

/** Those of one forward pass: all of them as they are, some of them through their share of what was kept. */
function backwardOf(group: Group, unordered: readonly Member[]): [Member, PassResult][] {
	const members = unordered.toSorted((a, b) => keptOf(a).place - keptOf(b).place);
	const {model, owners, saved} = group;
	const kept = members.map(keptOf);
	const isWhole = members.length === owners.length;
	const gradient = joinedGradient(members, kept, model.config.hidden);
	const share = () => {
		const adapters = kept.map(one => ({adapter: one.adapter, rows: one.dropout.rows}));
		const dropout = {
			probability: members[0]!.state.spec.lora.dropout,
			groups: kept.map(one => one.dropout),
		};
		return model.share(saved, {owners, wanted: kept.map(({place}) => place), adapters, dropout});
	};
	const {gradients} = model.backward(isWhole ? saved : share(), gradient);
	return members.map((member, index) => {
		const {state, input} = member;
		const {place, targets} = kept[index]!;
		const {isApplied, optimizerStep} = input as Applied;
		if (isWhole) state.kept.delete(nameOf(member));
		else forget(state, nameOf(member));
		const all = state.tailGradients ? {...gradients[index]!, ...state.tailGradients} : gradients[index]!;
		state.tailGradients = undefined;
		const gradientNorm = state.trainer.train(all, {weight: targets, isApplied, optimizerStep});
		return [member, {output: {gradientNorm, tokens: tokensOf(group, place)}, tensors: {}}];
	});
}

function joinedGradient(members: readonly Member[], kept: readonly Kept[], hidden: number): Float32Array {
	const parts = members.map(({tensors}) => unpacked(tensors['gradient.gradient']!));
	for (const [index, {length}] of parts.entries()) {
		const {rows} = kept[index]!.dropout;
		if (length !== rows * hidden)
			throw new CutlayerError(
				'data-invalid',
				`The gradient for ${members[index]!.state.id} has ${length} values: expected [${rows}, ${hidden}], as its activations`,
			);
	}
	return concatenated(
		parts.map((part, index) => {
			const {clipped} = kept[index]!;
			return clipped ? beforeClipping(part, hidden, clipped) : part;
		}),
	);
}

/** Whole steps without a main server. */
export function localStep(members: readonly Member[]): PassResult[] {
	for (const {state, tensors} of members) adopt(state, tensors);
	const {model, spec} = members[0]!.state;
	const batches = members.map(batchOf);
	const own = members.map(({state}) => state.trainer.adapter);
	const {batch, adapters, dropout} = joined(members, batches, own);
	const starts = batches.map((_, place) => sum(batches.slice(0, place).map(({ids}) => ids.length)));
	const targets = {
		positions: concatenated(batches.map(({positions}, place) => positions.map(position => position + starts[place]!))),
		labels: concatenated(batches.map(({labels}) => labels)),
		weights: Float32Array.from(batches.flatMap(({labels}) => Array.from(labels, () => 1 / labels.length))),
		labelSmoothing: spec.labelSmoothing,
	};
	const {targetLosses, gradients} = model.trainStep(batch, targets, adapters, {dropout});
	let at = 0;
	return members.map(({state, input}, place) => {
		const {labels, ids} = batches[place]!;
		const {isApplied, optimizerStep} = input as Applied;
		const losses = targetLosses.subarray(at, at + labels.length);
		at += labels.length;
		const gradientNorm = state.trainer.train(gradients[place]!, {weight: labels.length, isApplied, optimizerStep});
		const output = {loss: sum([...losses]) / labels.length, targets: labels.length, tokens: ids.length, gradientNorm};
		return {output, tensors: {}};
	});
}
