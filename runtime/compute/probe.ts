/**
What activations give away: how many of a batch's tokens the nearest embeddings name. It holds the frozen embedding alone and
never trains.
*/
import type {PassResult} from '../../protocols/ports.ts';
import {i32View, type NamedTensors} from '../../protocols/tensor.ts';
import type {SplitModel} from '../model/split.ts';
import type {Passes} from './passes.ts';
import {unpacked} from './wire.ts';

/**
Tokens whose ids the labels tell, and how many of them the nearest embedding names rightly by each distance; `throughHead` by the
angle to what the blocks below the cut make of each token.
*/
export type Recovered = {
	readonly tokens: number;
	readonly cosine: number;
	readonly euclidean: number;
	readonly throughHead?: number;
};

const nothing = (): PassResult => ({output: {}, tensors: {}});

export class ProbeCompute implements Passes {
	readonly #model: SplitModel;
	readonly #heads: ReadonlyMap<number, SplitModel>;
	readonly save: () => PassResult = nothing;
	readonly restore: () => PassResult = nothing;
	readonly close: () => PassResult = nothing;

	/** `model`: the embedding alone; `heads`: what clients hold, by cut, to compare with too. */
	constructor(model: SplitModel, heads: ReadonlyMap<number, SplitModel>) {
		this.#model = model;
		this.#heads = heads;
	}

	/** `Recovered` of a message `activations` with its `lengths` and its sender's `cut`. Throws `data-invalid` for what is no batch. */
	recover(input: unknown, tensors: NamedTensors): PassResult {
		const {lengths, cut} = input as {readonly lengths: readonly number[]; readonly cut: number};
		const activations = unpacked(tensors.activations!);
		const batch = {activations, lengths: [...lengths]};
		const nearest = this.#model.nearestTokens(batch);
		const head = this.#heads.get(cut);
		const known = knownTokens(lengths, i32View(tensors.targetPositions!), i32View(tensors.labels!));
		const count = (guess: Int32Array) => known.filter(([row, token]) => guess[row] === token).length;
		const output: Recovered = {
			tokens: known.length,
			cosine: count(nearest.cosine),
			euclidean: count(nearest.euclidean),
			...(head && {throughHead: count(head.nearestTokens(batch).cosine)}),
		};
		return {output, tensors: {}};
	}
}

/** Packed rows whose token a label names: it is what follows its position, where that is not another row's beginning. */
export function knownTokens(
	lengths: readonly number[],
	positions: Int32Array,
	labels: Int32Array,
): (readonly [row: number, token: number])[] {
	const beginnings = new Set<number>();
	let tokens = 0;
	for (const length of lengths) {
		beginnings.add(tokens);
		tokens += length;
	}
	return Array.from(positions, (position, index) => [position + 1, labels[index]!] as const).filter(
		([row]) => row > 0 && row < tokens && !beginnings.has(row),
	);
}
