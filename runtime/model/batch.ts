/**
What enters a pass: packed rows, their lengths and the targets of the loss. Checked here, because it may come from another machine.
*/
import {CutlayerError} from '../../protocols/errors.ts';
import type {AdapterRows} from './adapted-linear.ts';
import type {ModelConfig} from './config.ts';
import type {Dropout} from './dropout.ts';
import type {Adapter} from './lora.ts';

/** Token ids `[tokens]`, for a part with the embedding, or activations `[tokens, H]`: exactly one; rows packed without padding. */
export type Batch = {
	/** Tokens a row. */
	readonly lengths: readonly number[];
	readonly ids?: Int32Array | undefined;
	readonly activations?: Float32Array | undefined;
};

/** Where the loss is taken. */
export type Targets = {
	/** The packed rows whose next token is predicted. */
	readonly positions: Int32Array;
	/** The tokens that come next there. */
	readonly labels: Int32Array;
	/** The loss of a pass is the sum of `weights[j] loss_j`. */
	readonly weights: Float32Array;
	/** Default 0. */
	readonly labelSmoothing?: number | undefined;
};

/** One adapter for all tokens, or several that cover them in order (a cohort, or one replica a client). */
export type Adapters = Adapter | readonly AdapterRows[];

/** Dropout on the input of A; default none. */
export type PassOptions = {readonly dropout?: Dropout | undefined};

/** The number of packed rows. */
export const tokensOf = ({lengths}: Pick<Batch, 'lengths'>): number => lengths.reduce((sum, length) => sum + length, 0);

/** Throws `data-invalid` for a batch that the part of the model cannot compute. */
export function checkBatch(config: ModelConfig, hasEmbedding: boolean, batch: Batch): void {
	const tokens = tokensOf(batch);
	const longest = Math.max(0, ...batch.lengths);
	if (!batch.lengths.every(length => Number.isInteger(length) && length > 0) || tokens === 0) {
		throw invalid(`row lengths [${batch.lengths}] are not whole numbers of at least 1`);
	}
	if (longest > config.context)
		throw invalid(`a row of ${longest} tokens is longer than the model's ${config.context}: cut it`);
	const values = hasEmbedding ? batch.ids : batch.activations;
	const expected = hasEmbedding ? tokens : tokens * config.hidden;
	if (values?.length !== expected || (hasEmbedding ? batch.activations : batch.ids)) {
		const kind = hasEmbedding ? 'ids' : 'activation values';
		throw invalid(`${values?.length ?? 'no'} ${kind} for ${tokens} tokens: expected ${expected} and nothing else`);
	}
	if (hasEmbedding) checkTokens(config, batch.ids!, 'id');
}

/** Throws `data-invalid` for targets outside the batch or the vocabulary. */
export function checkTargets(
	config: ModelConfig,
	batch: Batch,
	{positions, labels, weights}: Omit<Targets, 'labelSmoothing'>,
): void {
	const tokens = tokensOf(batch);
	if (labels.length !== positions.length || weights.length !== positions.length) {
		throw invalid(`${positions.length} target positions with ${labels.length} labels and ${weights.length} weights`);
	}
	checkPositions(tokens, positions);
	checkTokens(config, labels, 'label');
}

/** Throws `data-invalid` for positions outside the packed rows. */
export function checkPositions(tokens: number, positions: Int32Array): void {
	const outside = positions.find(position => position < 0 || position >= tokens);
	if (outside !== undefined) throw invalid(`target position ${outside} is outside the ${tokens} packed tokens`);
}

function checkTokens({vocabulary}: ModelConfig, tokens: Int32Array, kind: string): void {
	const outside = tokens.find(token => token < 0 || token >= vocabulary);
	if (outside !== undefined)
		throw invalid(`${kind} ${outside} is outside the vocabulary of ${vocabulary}: is it the model's tokenizer?`);
}

/** The adapters as a list that covers the tokens; throws when they do not. */
export function adapterRows(adapters: Adapters, tokens: number): readonly AdapterRows[] {
	const rows = 'tensors' in adapters ? [{adapter: adapters, rows: tokens}] : adapters;
	const covered = rows.reduce((sum, group) => sum + group.rows, 0);
	if (covered !== tokens) throw new Error(`The adapters cover ${covered} packed tokens of ${tokens}`);
	return rows;
}

/** Throws when dropout groups do not cover the tokens. */
export function checkDropout({dropout}: PassOptions, tokens: number): void {
	if (!dropout) return;
	const covered = dropout.groups.reduce((sum, group) => sum + group.rows, 0);
	if (covered !== tokens) throw new Error(`The dropout groups cover ${covered} packed tokens of ${tokens}`);
}

const invalid = (what: string) => new CutlayerError('data-invalid', `Cannot compute this batch: ${what}`);
