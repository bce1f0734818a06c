/**
Causal attention over packed rows, with grouped queries and rotary positions. The only place where padding exists.
B rows of a batch, T the longest, N tokens in all, h heads, g key and value heads, d headDim.
*/
import type {DeviceTensor, Kernels} from '../tensor/backend.ts';
import type {ModelConfig} from './config.ts';
import type {Projection} from './lora.ts';
import {type RopeTables, ropeTables, rotate, rotateBackward} from './rope.ts';

/** How the packed rows of a batch lie in the padded square, and the constants of that square. Lives as long as the pass. */
export type AttentionLayout = {
	readonly batch: number;
	readonly longest: number;
	readonly tokens: number;
	/** Absent when all rows are equally long: packed is then already padded. */
	readonly padding?: {readonly fromPacked: DeviceTensor; readonly toPacked: DeviceTensor} | undefined;
	/** 0 where a query sees a key, else a large negative number: `[r T, T]`, once for each query head of a key head. */
	readonly mask: DeviceTensor;
	readonly rope?: RopeTables | undefined;
};

/** The layout of rows of these lengths (tokens each, at least 1), in a square as wide as the longest of them or given. */
export function attentionLayout(
	k: Kernels,
	config: ModelConfig,
	lengths: readonly number[],
	longest = Math.max(...lengths),
): AttentionLayout {
	const tokens = lengths.reduce((sum, length) => sum + length, 0);
	const isRagged = tokens !== longest * lengths.length;
	return {
		batch: lengths.length,
		longest,
		tokens,
		padding: isRagged ? paddingOf(k, lengths, longest, tokens) : undefined,
		mask: causalMask(k, longest, config.heads / config.kvHeads),
		rope: config.family === 'llama' ? ropeTables(k, config, longest) : undefined,
	};
}

/** Padded places read token 0, which changes nothing: real queries never look right, and padded ones are dropped. */
function paddingOf(k: Kernels, lengths: readonly number[], longest: number, tokens: number) {
	const fromPacked = new Int32Array(lengths.length * longest);
	const toPacked = new Int32Array(tokens);
	let token = 0;
	for (const [row, length] of lengths.entries()) {
		for (let position = 0; position < length; position++, token++) {
			fromPacked[row * longest + position] = token;
			toPacked[token] = row * longest + position;
		}
	}
	return {fromPacked: k.uploadIndex(fromPacked), toPacked: k.uploadIndex(toPacked)};
}

function causalMask(k: Kernels, positions: number, queryHeads: number): DeviceTensor {
	const rows = queryHeads * positions;
	const mask = new Float32Array(rows * positions);
	for (let row = 0; row < rows; row++) mask.fill(-1e9, row * positions + (row % positions) + 1, (row + 1) * positions);
	return k.upload(mask, [rows, positions]);
}

/** Heads lead, so that queries, keys and values are slices. Queries and keys are saved with the scale `1 / sqrt(d)` of scores in them; r = h / g. */
export type AttentionSaved = {
	/** `[g, B, r T, d]`: the queries that share a key head lie under one another. */
	readonly queries: DeviceTensor;
	/** `[g, B, T, d]`. */
	readonly keys: DeviceTensor;
	/** `[g, B, T, d]`. */
	readonly values: DeviceTensor;
	/** `[g, B, r T, T]`. */
	readonly probabilities: DeviceTensor;
};

/** From `[N, (h + 2g) d]` (queries, keys, values side by side) to the mixed values `[N, h d]`. */
export function attend(
	k: Kernels,
	config: ModelConfig,
	layout: AttentionLayout,
	qkv: DeviceTensor,
): {mixed: DeviceTensor; saved: AttentionSaved} {
	const {heads, kvHeads, headDim} = config;
	const {batch, longest, rope} = layout;
	return k.scope(() => {
		const padded = layout.padding ? k.gatherRows(qkv, layout.padding.fromPacked) : qkv;
		const square = k.reshape(padded, [batch, longest, heads + 2 * kvHeads, headDim]);
		const byHead = k.transpose(square, [2, 0, 1, 3]); // [h + 2g, B, T, d]
		const [queriesKeys, values] = k.split(byHead, [heads + kvHeads, kvHeads], 0) as [DeviceTensor, DeviceTensor];
		const turned = rope ? rotate(k, queriesKeys, rope) : queriesKeys;
		const [plain, keys] = k.split(turned, [heads, kvHeads], 0) as [DeviceTensor, DeviceTensor];
		const together = grouped(k, config, layout, plain);
		const queries = rope ? together : k.scale(together, 1 / Math.sqrt(headDim));
		const probabilities = k.softmax(k.add(k.batchMatMul(queries, keys, false, true), layout.mask));
		const mixed = toRows(k, config, layout, k.batchMatMul(probabilities, values));
		return {mixed, saved: {queries, keys, values, probabilities}};
	});
}

/** `[h, B, T, d]` to `[g, B, r T, d]`. */
function grouped(
	k: Kernels,
	{heads, kvHeads, headDim}: ModelConfig,
	{batch, longest}: AttentionLayout,
	x: DeviceTensor,
) {
	if (heads === kvHeads) return x;
	const groups = k.reshape(x, [kvHeads, heads / kvHeads, batch, longest * headDim]);
	return k.reshape(k.transpose(groups, [0, 2, 1, 3]), [kvHeads, batch, -1, headDim]);
}

/** `[g, B, r T, d]` to `[h, B, T, d]`. */
function ungrouped(
	k: Kernels,
	{heads, kvHeads, headDim}: ModelConfig,
	{batch, longest}: AttentionLayout,
	x: DeviceTensor,
) {
	if (heads === kvHeads) return x;
	const groups = k.reshape(x, [kvHeads, batch, heads / kvHeads, longest * headDim]);
	return k.reshape(k.transpose(groups, [0, 2, 1, 3]), [heads, batch, longest, headDim]);
}

/** `[g, B, r T, d]` to the packed `[N, h d]`. */
function toRows(
	k: Kernels,
	{heads, kvHeads, headDim}: ModelConfig,
	layout: AttentionLayout,
	x: DeviceTensor,
): DeviceTensor {
	const {batch, longest, padding} = layout;
	const groups = k.reshape(x, [kvHeads, batch, heads / kvHeads, longest, headDim]);
	const rows = k.reshape(k.transpose(groups, [1, 3, 0, 2, 4]), [batch * longest, heads * headDim]);
	return padding ? k.gatherRows(rows, padding.toPacked) : rows;
}

/**
From the gradient at the mixed values `[N, h d]` to the one at queries, keys and values `[N, (h + 2g) d]`.
`needsKeys`: false leaves the gradient at the keys zero, where nothing uses it (`areKeysReached`).
*/
export function attendBackward(
	k: Kernels,
	config: ModelConfig,
	layout: AttentionLayout,
	{queries, keys, values, probabilities}: AttentionSaved,
	dMixed: DeviceTensor,
	needsKeys: boolean,
): DeviceTensor {
	const {heads, kvHeads, headDim} = config;
	const {batch, longest, padding, rope} = layout;
	return k.scope(() => {
		// Padded places must be zero here: a padded query would otherwise send gradients to real keys and values.
		const padded = padding ? k.scatterRows(dMixed, padding.toPacked, batch * longest) : dMixed;
		const square = k.reshape(padded, [batch, longest, kvHeads, heads / kvHeads, headDim]);
		const d = k.reshape(k.transpose(square, [2, 0, 3, 1, 4]), queries.shape);
		const dScores = softmaxBackward(k, probabilities, k.batchMatMul(d, values, false, true));
		const dTogether = k.batchMatMul(dScores, keys);
		const dQueries = ungrouped(k, config, layout, rope ? dTogether : k.scale(dTogether, 1 / Math.sqrt(headDim)));
		const dKeys = needsKeys ? k.batchMatMul(dScores, queries, true, false) : k.scale(keys, 0);
		const dValues = k.batchMatMul(probabilities, d, true, false);
		const turnedBack = [dQueries, dKeys].map(d => (rope ? rotateBackward(k, d, rope) : d));
		const byHead = k.concat([...turnedBack, dValues], 0); // [h + 2g, B, T, d]
		const rows = k.reshape(k.transpose(byHead, [1, 2, 0, 3]), [batch * longest, (heads + 2 * kvHeads) * headDim]);
		return padding ? k.gatherRows(rows, padding.toPacked) : rows;
	});
}

/** `p (dp - sum(p dp))` over the last axis. */
function softmaxBackward(k: Kernels, probabilities: DeviceTensor, dProbabilities: DeviceTensor): DeviceTensor {
	return k.scope(() => {
		const weighted = k.mul(probabilities, dProbabilities);
		return k.sub(weighted, k.mul(probabilities, k.sumOfRows(weighted)));
	});
}

/**
Whether the gradient at the keys is used: below them by the input, or beside them by an adapter of the keys.
GPT-2's queries, keys and values are one map, whose gradient is always whole.
*/
export const areKeysReached = ({family}: ModelConfig, adapted: readonly Projection[], wantsInput: boolean): boolean =>
	family === 'gpt2' || wantsInput || adapted.includes('k');
