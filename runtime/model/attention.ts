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
	/** 0 where a query sees a key, else a large negative number: `[T, T]`. */
	readonly mask: DeviceTensor;
	readonly rope?: RopeTables | undefined;
};

/** The layout of rows of these lengths (tokens each, at least 1). */
export function attentionLayout(k: Kernels, config: ModelConfig, lengths: readonly number[]): AttentionLayout {
	const longest = Math.max(...lengths);
	const tokens = lengths.reduce((sum, length) => sum + length, 0);
	const isRagged = tokens !== longest * lengths.length;
	return {
		batch: lengths.length,
		longest,
		tokens,
		padding: isRagged ? paddingOf(k, lengths, longest, tokens) : undefined,
		mask: causalMask(k, longest),
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

function causalMask(k: Kernels, positions: number): DeviceTensor {
	const mask = new Float32Array(positions * positions);
	for (let query = 0; query < positions; query++)
		mask.fill(-1e9, query * positions + query + 1, (query + 1) * positions);
	return k.upload(mask, [positions, positions]);
}

/** Queries are saved scaled by `1 / sqrt(d)`; probabilities as `[B, g, h/g T, T]`. */
export type AttentionSaved = {
	readonly queries: DeviceTensor;
	readonly keys: DeviceTensor;
	readonly values: DeviceTensor;
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
	const {batch, longest} = layout;
	const padded = layout.padding ? k.gatherRows(qkv, layout.padding.fromPacked) : qkv;
	const square = k.reshape(padded, [batch, longest, heads + 2 * kvHeads, headDim]);
	const [turned, values] = queriesAndKeys(k, config, layout, k.transpose(square, [0, 2, 1, 3]));
	const [plainQueries, keys] = k.split(turned, [heads, kvHeads], 1) as [DeviceTensor, DeviceTensor]; // [B, h, T, d], [B, g, T, d]
	const grouped = [batch, kvHeads, (heads / kvHeads) * longest, headDim];
	const queries = k.reshape(k.scale(plainQueries, 1 / Math.sqrt(headDim)), grouped);
	const scores = k.reshape(k.batchMatMul(queries, keys, false, true), [batch, heads, longest, longest]);
	const probabilities = k.reshape(k.softmax(k.add(scores, layout.mask)), [batch, kvHeads, grouped[2]!, longest]);
	const mixed = k.reshape(k.batchMatMul(probabilities, values), [batch, heads, longest, headDim]);
	return {mixed: toRows(k, layout, mixed), saved: {queries, keys, values, probabilities}};
}

/** Splits `[B, h + 2g, T, d]` into queries with keys, turned where there are rotary positions, and values. */
function queriesAndKeys(k: Kernels, {heads, kvHeads}: ModelConfig, {rope}: AttentionLayout, square: DeviceTensor) {
	const [queriesKeys, values] = k.split(square, [heads + kvHeads, kvHeads], 1) as [DeviceTensor, DeviceTensor];
	return [rope ? rotate(k, queriesKeys, rope) : queriesKeys, values] as const;
}

/** `[B, heads, T, d]` to the packed `[N, heads d]`. */
function toRows(k: Kernels, {batch, longest, padding}: AttentionLayout, x: DeviceTensor): DeviceTensor {
	const rows = k.reshape(k.transpose(x, [0, 2, 1, 3]), [batch * longest, x.shape[1]! * x.shape[3]!]);
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
	const {heads, headDim} = config;
	const {batch, longest, padding} = layout;
	// Padded places must be zero here: a padded query would otherwise send gradients to real keys and values.
	const padded = padding ? k.scatterRows(dMixed, padding.toPacked, batch * longest) : dMixed;
	const square = k.transpose(k.reshape(padded, [batch, longest, heads, headDim]), [0, 2, 1, 3]);
	const d = k.reshape(square, queries.shape);
	const dProbabilities = k.mul(probabilities, k.batchMatMul(d, values, false, true));
	const dScores = k.sub(dProbabilities, k.mul(probabilities, k.sumOfRows(dProbabilities)));
	const dQueries = k.reshape(k.scale(k.batchMatMul(dScores, keys), 1 / Math.sqrt(headDim)), [
		batch,
		heads,
		longest,
		headDim,
	]);
	const dKeys = needsKeys ? k.batchMatMul(dScores, queries, true, false) : k.scale(keys, 0);
	const turned = k.concat([dQueries, dKeys], 1);
	const dQueriesKeys = layout.rope ? rotateBackward(k, turned, layout.rope) : turned;
	return toRows(k, layout, k.concat([dQueriesKeys, k.batchMatMul(probabilities, d, true, false)], 1));
}

/**
Whether the gradient at the keys is used: below them by the input, or beside them by an adapter of the keys.
GPT-2's queries, keys and values are one map, whose gradient is always whole.
*/
export const areKeysReached = ({family}: ModelConfig, adapted: readonly Projection[], wantsInput: boolean): boolean =>
	family === 'gpt2' || wantsInput || adapted.includes('k');
