/**
LoRA dropout masks from a counter-based hash: a mask value depends on its data owner's key, block, projection and place alone,
never on which process computes the block or what else is in the batch.
*/
import type {Projection} from './lora.ts';

/** Four 32-bit words, for example of (seed, data owner, round, step). */
export type DropoutKey = readonly [number, number, number, number];

/** `rows` consecutive packed tokens of one data owner. */
export type DropoutGroup = {readonly key: DropoutKey; readonly rows: number};

/** The groups cover the tokens of the batch in order. */
export type Dropout = {readonly probability: number; readonly groups: readonly DropoutGroup[]};

/** What a mask is for. */
export type MaskPlace = {readonly block: number; readonly projection: Projection; readonly columns: number};

/**
A mask `[rows, columns]`: 0 with the given probability (in steps of 2^-16), else `1 / (1 - probability)`.
`rows` are the packed tokens wanted, in any order; default all.
*/
export function dropoutMask({probability, groups}: Dropout, place: MaskPlace, rows?: Int32Array): Float32Array {
	const total = groups.reduce((sum, group) => sum + group.rows, 0);
	const mask = new Float32Array((rows?.length ?? total) * place.columns);
	const owners = ownersOf(groups);
	for (let row = 0; row < (rows?.length ?? total); row++) {
		const {key, first} = owners[rows?.[row] ?? row]!;
		const [low, high] = seeds(key, place);
		const local = (rows?.[row] ?? row) - first;
		fillRow(
			mask.subarray(row * place.columns, (row + 1) * place.columns),
			local * place.columns,
			low,
			high,
			probability,
		);
	}
	return mask;
}

/** For each packed token its owner's key and first token. */
function ownersOf(groups: readonly DropoutGroup[]): {key: DropoutKey; first: number}[] {
	let next = 0;
	return groups.flatMap(({key, rows}) => {
		const owner = {key, first: next};
		next += rows;
		return Array.from({length: rows}, () => owner);
	});
}

/**
One hash gives two values: the lower half is that of the even element, the upper half that of the odd one after it.
A half below the threshold drops; its difference is negative, so the sign bit tells without a branch that cannot be predicted.
*/
function fillRow(row: Float32Array, offset: number, low: number, high: number, probability: number): void {
	const threshold = Math.round(probability * 65536);
	const kept = 1 / (1 - probability);
	const odd = offset & 1;
	if (odd) row[0] = kept * (1 - (((hash(offset >>> 1, low, high) >>> 16) - threshold) >>> 31));
	const last = row.length - 1;
	for (let column = odd, pair = (offset + odd) >>> 1; column <= last; column += 2, pair++) {
		const bits = hash(pair, low, high);
		row[column] = kept * (1 - (((bits & 0xffff) - threshold) >>> 31));
		if (column < last) row[column + 1] = kept * (1 - (((bits >>> 16) - threshold) >>> 31));
	}
}

const codes: Record<Projection, number> = {q: 1, k: 2, v: 3, o: 4, gate: 5, up: 6, down: 7, qkv: 8};

function seeds([a, b, c, d]: DropoutKey, {block, projection}: MaskPlace): [number, number] {
	const stream = Math.imul(block + 1, 0x9e3779b1) ^ Math.imul(codes[projection], 0x85ebca6b);
	return [hash(stream, a, b), hash(stream, c, d)];
}

/** Mixes a counter with two words; the steps are multiplications by odd constants and shifts, each a bijection. */
function hash(counter: number, low: number, high: number): number {
	let bits = Math.imul(counter ^ low, 0x7feb352d);
	bits = Math.imul(bits ^ (bits >>> 15) ^ high, 0x846ca68b);
	bits = Math.imul(bits ^ (bits >>> 16), 0xc2b2ae35);
	return bits ^ (bits >>> 16);
}
