/**
The passes of clients over one or many of them at once: one pass through the frozen weights, the adapters side by side, of whatever
ranks. Rows of two clients never meet, so that each gets what it would get alone, within float tolerance.
*/
import {CutlayerError} from '../../protocols/errors.ts';
import type {PassResult} from '../../protocols/ports.ts';
import {i32View, type NamedTensors} from '../../protocols/tensor.ts';
import type {AdapterRows} from '../model/adapted-linear.ts';
import type {DropoutGroup} from '../model/dropout.ts';
import type {AdapterTensors} from '../model/lora.ts';
import {atRank} from '../model/ranks.ts';
import type {SplitModel} from '../model/split.ts';
import {keyWords} from '../random.ts';
import {heldOf} from './kept-adapter.ts';
import {pick} from './names.ts';
import type {ActorSpec} from './spec.ts';
import type {Trainer} from './trainer.ts';
import {packed, receivedAdapter, unpacked} from './wire.ts';

type Spec = Extract<ActorSpec, {kind: 'client'}>;
type StepKey = {readonly round: number; readonly step: number};

/** What every pass over a batch gets: the packed ids in `batch.ids` `[tokens]`, positions and labels `[targets]`. */
export type BatchInput = StepKey & {readonly lengths: readonly number[]};
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

/** What a client keeps of its forward pass. */
type Kept = {
	readonly group: Group;
	readonly place: number;
	readonly dropout: DropoutGroup;
	readonly targets: number;
};

export type ClientState = {
	readonly id: string;
	readonly spec: Spec;
	readonly model: SplitModel;
	readonly trainer: Trainer;
	kept: Kept | undefined;
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

/** A forward pass whose gradient never came keeps nothing. */
export function forget(state: ClientState): void {
	const {kept} = state;
	state.kept = undefined;
	if (!kept?.group.waiting.delete(kept.place) || kept.group.waiting.size > 0) return;
	kept.group.model.release(kept.group.saved);
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
function joined(members: readonly Member[], batches: readonly Batch[]) {
	const adapters: AdapterRows[] = members.map(({state}, place) => ({
		adapter: state.trainer.adapter,
		rows: batches[place]!.ids.length,
	}));
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
	for (const {state, tensors} of members) {
		adopt(state, tensors);
		forget(state);
	}
	const {model, spec} = members[0]!.state;
	const batches = members.map(batchOf);
	const {batch, adapters, dropout} = joined(members, batches);
	const {activations, saved} = model.forward(batch, adapters, {dropout});
	const owners = batches.map(({lengths}) => lengths);
	const group: Group = {model, saved, owners, waiting: new Set(members.keys())};
	const {hidden} = model.config;
	let at = 0;
	return members.map(({state, tensors}, place) => {
		const {lengths, ids, labels, dropout: own} = batches[place]!;
		const rows = activations.subarray(at, at + ids.length * hidden);
		at += ids.length * hidden;
		state.kept = {group, place, dropout: own, targets: labels.length};
		const wire = packed(members.length > 1 ? rows.slice() : rows, [ids.length, hidden], spec.wire);
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

/** Takes the gradients at the cut `[tokens, hidden]` back through the head and trains the adapters. */
export function backward(members: readonly Member[]): PassResult[] {
	const results = new Map<Member, PassResult>();
	const groups = new Map<Group, Member[]>();
	for (const member of members) {
		const {group, place} = keptOf(member);
		// With nothing below the cut to train (c = 0) no gradient is sent.
		if (!member.tensors['gradient.gradient']) {
			results.set(member, withoutHead(member, tokensOf(group, place)));
			forget(member.state);
		} else groups.set(group, [...(groups.get(group) ?? []), member]);
	}
	for (const [group, own] of groups) {
		for (const [member, result] of backwardOf(group, own)) results.set(member, result);
	}
	return members.map(member => results.get(member)!);
}

const tokensOf = ({owners}: Group, place: number) => sum(owners[place]!);

/** With nothing to train below the cut the end of the model is trained alone, where the client holds it. */
function withoutHead({state, input}: Member, tokens: number): PassResult {
	const {targets} = keptOf({state});
	const {isApplied, optimizerStep} = input as Applied;
	const gradientNorm = state.tailGradients
		? state.trainer.train(state.tailGradients, {weight: targets, isApplied, optimizerStep})
		: 0;
	state.tailGradients = undefined;
	return {output: {gradientNorm, tokens}, tensors: {}};
}

function keptOf({state}: Pick<Member, 'state'>): Kept {
	if (state.kept) return state.kept;
	throw new Error(`${state.id} has no forward pass to go back through`);
}

/** Those of one forward pass: all of them as they are, some of them through their share of what was kept. */
function backwardOf(group: Group, unordered: readonly Member[]): [Member, PassResult][] {
	const members = unordered.toSorted((a, b) => keptOf(a).place - keptOf(b).place);
	const {model, owners, saved} = group;
	const kept = members.map(keptOf);
	const isWhole = members.length === owners.length;
	const gradient = joinedGradient(members, kept, model.config.hidden);
	const share = () => {
		const adapters = members.map(({state}, index) => ({
			adapter: state.trainer.adapter,
			rows: kept[index]!.dropout.rows,
		}));
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
		if (isWhole) state.kept = undefined;
		else forget(state);
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
	return concatenated(parts);
}

/** Whole steps without a main server. */
export function localStep(members: readonly Member[]): PassResult[] {
	for (const {state, tensors} of members) adopt(state, tensors);
	const {model, spec} = members[0]!.state;
	const batches = members.map(batchOf);
	const {batch, adapters, dropout} = joined(members, batches);
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
		const own = targetLosses.subarray(at, at + labels.length);
		at += labels.length;
		const gradientNorm = state.trainer.train(gradients[place]!, {weight: labels.length, isApplied, optimizerStep});
		const output = {loss: sum([...own]) / labels.length, targets: labels.length, tokens: ids.length, gradientNorm};
		return {output, tensors: {}};
	});
}
