/**
What a forward over several data owners has kept, for some of them alone: their backward may come at another time than the others'.
Rows of two owners never meet, so that a share is rows of every tensor.
*/
import type {DeviceTensor, Kernels} from '../tensor/backend.ts';
import {type Adaptation, type AdaptedSaved, lowered, packAdapter} from './adapted-linear.ts';
import {type AttentionLayout, attentionLayout} from './attention.ts';
import type {Block, BlockSaved} from './block.ts';
import type {ModelConfig} from './config.ts';
import type {Slot} from './lora.ts';

/** What a forward keeps for its backward, on the device, until `backward` or `release`. */
export type Saved = {
	readonly layout: AttentionLayout;
	readonly adapters: number;
	/** The last block first: the order in which they are freed. */
	readonly blocks: {readonly block: Block; readonly saved: BlockSaved}[];
};

/** The row lengths of each owner's batch, in the order of the forward. */
export type Owners = readonly (readonly number[])[];

/** Whose share: places among the owners, ascending; with what they adapted the forward by. */
export type Share = {readonly owners: Owners; readonly wanted: readonly number[]; readonly adaptation: Adaptation};

/** A copy of a share; the whole stays as it is. */
export function shareOf(k: Kernels, config: ModelConfig, {layout, blocks}: Saved, share: Share): Saved {
	const {owners, wanted, adaptation} = share;
	const tokens = owners.map(lengths => lengths.reduce((sum, length) => sum + length, 0));
	const picked = (x: DeviceTensor, extents: readonly number[], axis: number) =>
		k.scope(() => {
			const parts = k.split(x, extents, axis);
			const own = wanted.map(place => parts[place]!);
			return own.length > 1 ? k.concat(own, axis) : own[0]!;
		});
	const rowsOf = (x: DeviceTensor) => picked(x, tokens, 0);
	// [g, B, ...]: the rows of the batch are its second axis.
	const batchOf = (x: DeviceTensor) =>
		picked(
			x,
			owners.map(lengths => lengths.length),
			1,
		);
	return k.scope(() => ({
		layout: attentionLayout(
			k,
			config,
			wanted.flatMap(place => owners[place]!),
			layout.longest,
		),
		adapters: wanted.length,
		blocks: blocks.map(({block, saved}) => ({
			block,
			saved: blockShare(k, config, {block, saved, adaptation}, rowsOf, batchOf),
		})),
	}));
}

type Pick = (x: DeviceTensor) => DeviceTensor;
type Kept = {readonly block: Block; readonly saved: BlockSaved; readonly adaptation: Adaptation};

function blockShare(
	k: Kernels,
	config: ModelConfig,
	{block, saved, adaptation}: Kept,
	rowsOf: Pick,
	batchOf: Pick,
): BlockSaved {
	const adapted = (slot: Slot): AdaptedSaved => {
		const kept = saved[slot];
		const frozen = block[slot];
		if (!kept || !frozen) return undefined;
		const place = {block: block.index, slot, inputGain: frozen.inputGain};
		const packed = packAdapter(k, config, place, adaptation)!;
		const x = rowsOf(kept.x);
		return {packed, x, u: k.scope(() => lowered(k, packed, x))};
	};
	const {norm1, norm2, attention, activation} = saved;
	return {
		norm1: {normalised: rowsOf(norm1.normalised), scale: rowsOf(norm1.scale)},
		qkv: adapted('qkv'),
		attention: {
			queries: batchOf(attention.queries),
			keys: batchOf(attention.keys),
			values: batchOf(attention.values),
			probabilities: batchOf(attention.probabilities),
		},
		o: adapted('o'),
		norm2: {normalised: rowsOf(norm2.normalised), scale: rowsOf(norm2.scale)},
		gate: adapted('gate'),
		up: adapted('up'),
		activation: {up: rowsOf(activation.up), ...(activation.gate && {gate: rowsOf(activation.gate)})},
		down: adapted('down'),
	};
}
