/**
A part of a language model: any range of its blocks, with or without the embedding before them and the LM head after them.

    ids -> [embedding] -> block from ... block to-1 -> | cut | -> ... -> [norm, LM head, loss]
           head: a client's part                              tail: the main server's part

All passes are synchronous and block their thread; arrays given to a call are not kept after it returns.
*/
import type {Backend, DeviceTensor, Kernels} from '../tensor/backend.ts';
import type {Adaptation} from './adapted-linear.ts';
import {attentionLayout} from './attention.ts';
import {
	type Adapters,
	adapterRows,
	type Batch,
	checkBatch,
	checkDropout,
	checkPositions,
	checkTargets,
	type PassOptions,
	type Targets,
	tokensOf,
} from './batch.ts';
import {type Block, type BlockPass, blockBackward, blockForward, type RowChoice} from './block.ts';
import type {ModelConfig, WeightSource} from './config.ts';
import {gpt2Reader} from './gpt2.ts';
import {llamaReader} from './llama.ts';
import {type AdapterTensors, blocksOf, zerosLike} from './lora.ts';
import {logitsOf, losses, lossesWithGradient} from './loss.ts';
import {type NearestTokens, nearestTokens, type References, referencesOf} from './nearest.ts';
import {type Saved, type Share, shareOf} from './saved-share.ts';
import {type Embedding, type Head, type Reader, readerOf} from './weights.ts';

/** Blocks `[from, to)`; both ends may be equal, which leaves the embedding or the head alone. */
export type Part = {
	readonly from: number;
	readonly to: number;
	readonly hasEmbedding: boolean;
	readonly hasHead: boolean;
};

/** One entry for each adapter given, in order. */
export type PassGradients = {readonly gradients: AdapterTensors[]; readonly inputGradient?: Float32Array};

/** Any two tokens: what follows them is at no special place, as the first token of a text is. */
const prefix: readonly number[] = [0, 28];
const tokensAtOnce = 1024;

type Weights = {
	readonly blocks: readonly Block[];
	readonly embedding: Embedding | undefined;
	readonly head: Head | undefined;
};

export class SplitModel {
	readonly config: ModelConfig;
	readonly part: Part;
	readonly #k: Kernels;
	readonly #reader: Reader;
	readonly #weights: Weights;
	/** What activations are compared with, once they are asked for. */
	#references: References | undefined;

	private constructor(part: Part, k: Kernels, reader: Reader, weights: Weights) {
		this.config = reader.source.config;
		this.part = part;
		this.#k = k;
		this.#reader = reader;
		this.#weights = weights;
	}

	/** Loads what the part needs and nothing else; throws what the source throws. */
	static async load(source: WeightSource, backend: Backend, part: Part): Promise<SplitModel> {
		const {blocks} = source.config;
		if (!(0 <= part.from && part.from <= part.to && part.to <= blocks)) {
			throw new Error(`Expected a range of the model's ${blocks} blocks, got [${part.from}, ${part.to})`);
		}
		const reader = readerOf(backend.kernels, source);
		const family = source.config.family === 'gpt2' ? gpt2Reader(reader) : llamaReader(reader);
		const weights: Weights = {
			embedding: part.hasEmbedding ? await family.embedding() : undefined,
			blocks: await sequentially(part.from, part.to, index => family.block(index)),
			head: part.hasHead ? await family.head() : undefined,
		};
		return new SplitModel(part, backend.kernels, reader, weights);
	}

	/** Frees the frozen weights. Passes in flight must have been released. */
	dispose(): void {
		this.#reader.dispose();
		// Without blocks they are the embedding, which the reader freed.
		if (this.#references && this.#weights.blocks.length > 0) this.#k.dispose([this.#references.rows]);
	}

	/** Computes the blocks, `[tokens, H]`, and keeps what `backward` needs. */
	forward(batch: Batch, adapters: Adapters, options: PassOptions = {}): {activations: Float32Array; saved: Saved} {
		const k = this.#k;
		return k.scope(() => {
			const pass = this.#begin(batch, adapters, options, true);
			const blocks: Saved['blocks'] = [];
			const x = this.#through(pass, this.#enter(batch), blocks);
			return {
				activations: k.download(x),
				saved: {layout: pass.layout, adapters: pass.adaptation.adapters.length, blocks},
			};
		});
	}

	/** `forward` that keeps nothing: without dropout, for evaluation. */
	infer(batch: Batch, adapters: Adapters): Float32Array {
		const k = this.#k;
		return k.scope(() => k.download(this.#through(this.#begin(batch, adapters, {}, false), this.#enter(batch))));
	}

	/**
	The gradients of the adapters from the gradient at the activations, `[tokens, H]`; frees `saved`, which cannot be used again.
	`wantsInputGradient` (default false) asks for the gradient at the part's input; a part with the embedding has none.
	*/
	backward(saved: Saved, gradient: Float32Array, {wantsInputGradient = false} = {}): PassGradients {
		const k = this.#k;
		const tokens = saved.layout.tokens;
		if (gradient.length !== tokens * this.config.hidden) {
			throw new Error(`Expected a gradient of [${tokens}, ${this.config.hidden}], got ${gradient.length} values`);
		}
		return k.scope(() => {
			const dy = k.upload(gradient, [tokens, this.config.hidden]);
			const result = this.#down(saved, dy, {wantsInputGradient});
			this.release(saved);
			return result;
		});
	}

	/**
	What a forward over several owners kept, for some of them alone: a copy, with the adapters and dropout that the forward had
	for them. The whole stays, until its own `backward` or `release`.
	*/
	share(saved: Saved, {adapters, dropout, ...share}: Omit<Share, 'adaptation'> & Adaptation): Saved {
		return shareOf(this.#k, this.config, saved, {...share, adaptation: {adapters, dropout}});
	}

	/** Frees what a forward kept, for a batch whose gradient does not come. */
	release({layout, blocks}: Saved): void {
		this.#k.dispose(layout);
		for (const {saved} of blocks.splice(0)) this.#k.dispose(saved);
	}

	/**
	Forward, loss and backward of a part with the LM head. Losses are one a target, not weighted.
	The last block's output projection and MLP, and the logits, are computed for the targets only.
	*/
	trainStep(
		batch: Batch,
		targets: Targets,
		adapters: Adapters,
		{wantsInputGradient = false, ...options}: PassOptions & {wantsInputGradient?: boolean} = {},
	): PassGradients & {targetLosses: Float32Array} {
		const k = this.#k;
		const head = this.#head();
		checkTargets(this.config, batch, targets);
		if (targets.positions.length === 0) return this.#noTargets(batch, adapters, wantsInputGradient);
		return k.scope(() => {
			const pass = this.#begin(batch, adapters, options, true);
			const blocks: Saved['blocks'] = [];
			const rows = this.#choose(targets.positions);
			const chosen = this.#toTargets(pass, this.#enter(batch), rows, blocks);
			const {losses: targetLosses, gradient} = lossesWithGradient(k, head, chosen, targets);
			k.dispose(chosen);
			const saved: Saved = {layout: pass.layout, adapters: pass.adaptation.adapters.length, blocks};
			return {targetLosses, ...this.#down(saved, gradient, {wantsInputGradient, rows})};
		});
	}

	/** The losses at the targets, keeping nothing. */
	evaluate(batch: Batch, targets: Omit<Targets, 'weights'>, adapters: Adapters): Float32Array {
		checkTargets(this.config, batch, {...targets, weights: new Float32Array(targets.positions.length)});
		if (targets.positions.length === 0) return new Float32Array(0);
		return this.#k.scope(() => {
			const pass = this.#begin(batch, adapters, {}, false);
			const rows = this.#choose(targets.positions);
			return losses(this.#k, this.#head(), this.#toTargets(pass, this.#enter(batch), rows), targets);
		});
	}

	/** The logits that follow the given packed rows, `[positions, vocabulary]`. */
	logits(batch: Batch, positions: Int32Array, adapters: Adapters): Float32Array {
		checkPositions(tokensOf(batch), positions);
		if (positions.length === 0) return new Float32Array(0);
		return this.#k.scope(() => {
			const pass = this.#begin(batch, adapters, {}, false);
			return logitsOf(this.#k, this.#head(), this.#toTargets(pass, this.#enter(batch), this.#choose(positions)));
		});
	}

	/**
	The tokens whose embeddings lie nearest to activations `[tokens, H]`, less what their positions add in GPT-2. Behind blocks it is
	not the embeddings that are compared with, but what these blocks make of each token after two others, whoever's adapter they have.
	*/
	nearestTokens(batch: Pick<Batch, 'lengths'> & {readonly activations: Float32Array}): NearestTokens {
		const k = this.#k;
		const {embedding, blocks} = this.#weights;
		if (!embedding) throw new Error('This part of the model has no embedding');
		checkBatch(this.config, false, batch);
		this.#references ??= referencesOf(k, blocks.length > 0 ? this.#madeOfTokens() : embedding.tokens);
		const references = this.#references;
		return k.scope(() => {
			const rows = k.upload(batch.activations, [tokensOf(batch), this.config.hidden]);
			const positions = blocks.length > 0 ? undefined : this.#positions(batch);
			return nearestTokens(k, references, positions ? k.sub(rows, positions) : rows);
		});
	}

	/** The last row of each of `[prefix, token]`, `[V, H]`, without an adapter. */
	#madeOfTokens(): DeviceTensor {
		const {vocabulary, hidden} = this.config;
		const values = new Float32Array(vocabulary * hidden);
		const length = prefix.length + 1;
		for (let from = 0; from < vocabulary; from += tokensAtOnce) {
			const count = Math.min(tokensAtOnce, vocabulary - from);
			const ids = Int32Array.from(
				{length: count * length},
				(_, i) => prefix[i % length] ?? from + Math.floor(i / length),
			);
			const lengths = Array.from({length: count}, () => length);
			const made = this.infer({ids, lengths}, {alpha: 1, isRankStabilised: false, tensors: {}});
			for (let row = 0; row < count; row++) {
				const last = (row * length + prefix.length) * hidden;
				values.set(made.subarray(last, last + hidden), (from + row) * hidden);
			}
		}
		return this.#k.upload(values, [vocabulary, hidden]);
	}

	/** A batch without targets has no loss: every gradient is zero. */
	#noTargets(
		batch: Batch,
		adapters: Adapters,
		wantsInputGradient: boolean,
	): PassGradients & {targetLosses: Float32Array} {
		checkBatch(this.config, this.part.hasEmbedding, batch);
		const tokens = tokensOf(batch);
		const gradients = adapterRows(adapters, tokens).map(({adapter}) => zerosLike(blocksOf(adapter.tensors, this.part)));
		const wantsInput = wantsInputGradient && !this.part.hasEmbedding;
		const inputGradient = new Float32Array(tokens * this.config.hidden);
		return {targetLosses: new Float32Array(0), gradients, ...(wantsInput && {inputGradient})};
	}

	#head(): Head {
		if (!this.#weights.head) throw new Error('This part of the model has no LM head');
		return this.#weights.head;
	}

	#begin(batch: Batch, adapters: Adapters, options: PassOptions, keeps: boolean): BlockPass {
		checkBatch(this.config, this.part.hasEmbedding, batch);
		const tokens = tokensOf(batch);
		checkDropout(options, tokens);
		const adaptation = {adapters: adapterRows(adapters, tokens), dropout: options.dropout};
		return {
			k: this.#k,
			config: this.config,
			layout: attentionLayout(this.#k, this.config, batch.lengths),
			adaptation,
			keeps,
		};
	}

	/** The input of the first block, `[tokens, H]`. */
	#enter({lengths, ids, activations}: Batch): DeviceTensor {
		const k = this.#k;
		const {embedding} = this.#weights;
		if (!embedding) return k.upload(activations!, [tokensOf({lengths}), this.config.hidden]);
		const tokens = k.gatherRows(embedding.tokens, k.uploadIndex(ids!));
		const positions = this.#positions({lengths});
		return positions ? k.add(tokens, positions) : tokens;
	}

	/** What GPT-2 adds to the embeddings of the tokens, `[tokens, H]`. */
	#positions({lengths}: Pick<Batch, 'lengths'>): DeviceTensor | undefined {
		const positions = this.#weights.embedding?.positions;
		if (!positions) return undefined;
		const places = Int32Array.from(lengths.flatMap(length => Array.from({length}, (_, position) => position)));
		return this.#k.gatherRows(positions, this.#k.uploadIndex(places));
	}

	#choose(positions: Int32Array): RowChoice {
		return {values: positions, index: this.#k.uploadIndex(positions)};
	}

	/** Through all blocks; the last one for the chosen rows only, if any are chosen. */
	#through(pass: BlockPass, input: DeviceTensor, kept?: Saved['blocks'], rows?: RowChoice): DeviceTensor {
		let x = input;
		for (const block of this.#weights.blocks) {
			const isLast = block === this.#weights.blocks.at(-1);
			const {y, saved} = blockForward(pass, block, x, isLast ? rows : undefined);
			if (saved) kept?.unshift({block, saved});
			pass.k.dispose(x);
			x = y;
		}
		return x;
	}

	/** The rows at the targets, `[targets, H]`, after the last block. */
	#toTargets(pass: BlockPass, input: DeviceTensor, rows: RowChoice, kept?: Saved['blocks']): DeviceTensor {
		const x = this.#through(pass, input, kept, rows);
		return this.#weights.blocks.length > 0 ? x : pass.k.gatherRows(x, rows.index);
	}

	/** Back through the kept blocks, freeing each when it is done. `rows`: the last block's output was these rows only. */
	#down(
		saved: Saved,
		gradient: DeviceTensor,
		{wantsInputGradient, rows}: {wantsInputGradient: boolean; rows?: RowChoice},
	): PassGradients {
		const k = this.#k;
		const wantsInput = wantsInputGradient && !this.part.hasEmbedding;
		const gradients: AdapterTensors[] = Array.from({length: saved.adapters}, () => ({}));
		const pass = {k, config: this.config, layout: saved.layout, gradients};
		let dy: DeviceTensor | undefined = gradient;
		let choice = rows;
		while (dy && saved.blocks.length > 0) {
			const {block, saved: kept} = saved.blocks.shift()!;
			const isFirst = saved.blocks.length === 0;
			const dx: DeviceTensor | undefined = blockBackward(pass, block, kept, dy, {
				wantsInput: !isFirst || wantsInput,
				rows: choice,
			});
			k.dispose(dy);
			dy = dx;
			choice = undefined;
		}
		if (!dy || !wantsInput) return {gradients};
		const whole = choice ? k.scatterRows(dy, choice.index, saved.layout.tokens) : dy;
		return {gradients, inputGradient: k.download(whole)};
	}
}

async function sequentially<T>(from: number, to: number, create: (index: number) => Promise<T>): Promise<T[]> {
	const created: T[] = [];
	for (let index = from; index < to; index++) created.push(await create(index));
	return created;
}
