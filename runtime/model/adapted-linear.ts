/**
A frozen linear map with the adapters of its projections: all of them, of all data owners in the batch, as one pair of products.

The k-th piece (a projection of an adapter) owns columns [first, first + rank) of u, so with R = the sum of the ranks
    u [N, R] = x [N, in] A^T,    y = x W + u B,    A [R, in],    B [R, out] zero outside a piece's output columns.
Several adapters share the products: u is set to zero where a token is not of the piece's owner.
*/
import type {DeviceTensor, Kernels} from '../tensor/backend.ts';
import type {ModelConfig} from './config.ts';
import {type Dropout, dropoutMask} from './dropout.ts';
import {type Linear, linear, linearBackward, scaleColumns} from './layers.ts';
import {
	type Adapter,
	type AdapterTensors,
	adapterNames,
	type Place,
	type Projection,
	placeOf,
	type Slot,
	scalingOf,
} from './lora.ts';
import {interleaved} from './rope.ts';

/** The next `rows` packed tokens of the batch belong to this adapter. */
export type AdapterRows = {readonly adapter: Adapter; readonly rows: number};

/** What a pass adapts with: the adapters cover the tokens of the batch in order. */
export type Adaptation = {readonly adapters: readonly AdapterRows[]; readonly dropout?: Dropout | undefined};

/** One projection of one adapter inside the packed pair. */
type Piece = {
	readonly owner: number;
	readonly projection: Projection;
	readonly names: {readonly a: string; readonly b: string};
	readonly place: Place;
	/** The column of y that an output of the projection is. */
	readonly columns: Int32Array;
	readonly rank: number;
	readonly first: number;
	readonly scaling: number;
};

/** A part of A that reads the same x: all of it without dropout, one projection's with its mask. */
type Branch = {readonly a: DeviceTensor; readonly mask?: DeviceTensor | undefined};

/** The packed pair on the device. `owners` is `[N, R]` of 0 and 1, absent for a single adapter. */
export type PackedAdapter = {
	readonly block: number;
	readonly pieces: readonly Piece[];
	/** `[in]`: what the norm before the map has left to its readers: x stands for `x diag(gain)`. */
	readonly inputGain?: Float32Array | undefined;
	readonly branches: readonly Branch[];
	readonly b: DeviceTensor;
	readonly owners?: DeviceTensor | undefined;
	/** What is added to the frozen weights themselves. */
	readonly overlay?: PackedAdapter | undefined;
};

/** Packs what adapts a slot of a block, or `undefined` when nothing does. `rows`: the packed tokens the slot computes; default all. */
export function packAdapter(
	k: Kernels,
	config: ModelConfig,
	{block, slot, inputGain}: {block: number; slot: Slot; inputGain?: Float32Array | undefined},
	{adapters, dropout}: Adaptation,
	rows?: Int32Array,
): PackedAdapter | undefined {
	const pieces = piecesOf(config, block, slot, adapters);
	const last = pieces.at(-1);
	if (!last) return undefined;
	const rank = last.first + last.rank;
	return {
		block,
		pieces,
		inputGain,
		branches: branchesOf(k, pieces, adapters, {block, dropout, rows, inputGain}),
		b: packB(k, pieces, adapters, rank, outputsOf(config, slot)),
		owners: adapters.length > 1 ? ownerMask(k, pieces, adapters, rank, rows) : undefined,
		overlay: packAdapter(k, config, {block, slot, inputGain}, {adapters: overlaysOf(adapters)}, rows),
	};
}

/** The overlays as adapters of their own, which have none. */
const overlaysOf = (adapters: readonly AdapterRows[]): AdapterRows[] =>
	adapters.map(({adapter, rows}) => ({
		adapter: {alpha: 1, isRankStabilised: false, scaling: 1, tensors: adapter.overlay ?? {}},
		rows,
	}));

const projectionsOf: Record<Slot, readonly Projection[]> = {
	qkv: ['q', 'k', 'v', 'qkv'],
	o: ['o'],
	gate: ['gate'],
	up: ['up'],
	down: ['down'],
};

function outputsOf({hidden, heads, kvHeads, headDim, ffn}: ModelConfig, slot: Slot): number {
	if (slot === 'qkv') return (heads + 2 * kvHeads) * headDim;
	return slot === 'gate' || slot === 'up' ? ffn : hidden;
}

/** Projection by projection, so that one projection's pieces lie side by side. */
function piecesOf(config: ModelConfig, block: number, slot: Slot, adapters: readonly AdapterRows[]): Piece[] {
	const pieces: Piece[] = [];
	let first = 0;
	for (const projection of projectionsOf[slot]) {
		const names = adapterNames(block, projection);
		for (const [owner, {adapter}] of adapters.entries()) {
			const a = adapter.tensors[names.a];
			if (!a) continue;
			const place = placeOf(config, projection);
			const columns = columnsOf(config, projection, place);
			const [rank] = a.shape;
			checkShapes(adapter.tensors, names, place, rank);
			pieces.push({owner, projection, names, place, columns, rank, first, scaling: scalingOf(adapter, rank)});
			first += rank;
		}
	}
	return pieces;
}

/** Queries and keys with rotary positions lie interleaved, as their frozen weights do. */
function columnsOf(config: ModelConfig, projection: Projection, {offset, outputs}: Place): Int32Array {
	const isRotated = config.family === 'llama' && (projection === 'q' || projection === 'k');
	return Int32Array.from({length: outputs}, (_, index) => offset + (isRotated ? interleaved(config, index) : index));
}

function checkShapes(
	tensors: AdapterTensors,
	names: {a: string; b: string},
	{inputs, outputs}: Place,
	rank: number,
): void {
	const a = tensors[names.a]!.shape;
	const b = tensors[names.b]?.shape;
	if (a[1] === inputs && b?.[0] === outputs && b[1] === rank) return;
	throw new Error(
		`Expected ${names.a} of shape [${rank}, ${inputs}] and ${names.b} of [${outputs}, ${rank}], got [${a}] and [${b ?? 'nothing'}]`,
	);
}

type BranchOptions = {
	readonly block: number;
	readonly dropout: Dropout | undefined;
	readonly rows: Int32Array | undefined;
	readonly inputGain: Float32Array | undefined;
};

function branchesOf(
	k: Kernels,
	pieces: readonly Piece[],
	adapters: readonly AdapterRows[],
	{block, dropout, rows, inputGain}: BranchOptions,
): Branch[] {
	const branch = (members: readonly Piece[]) => {
		const {inputs} = members[0]!.place;
		const rank = members.reduce((sum, piece) => sum + piece.rank, 0);
		const a = new Float32Array(rank * inputs);
		for (const piece of members) {
			a.set(adapters[piece.owner]!.adapter.tensors[piece.names.a]!.values, (piece.first - members[0]!.first) * inputs);
		}
		if (inputGain) scaleColumns(a, inputGain);
		return k.upload(a, [rank, inputs]);
	};
	if (!dropout || dropout.probability === 0) return [{a: branch(pieces)}];
	return [...new Set(pieces.map(piece => piece.projection))].map(projection => {
		const members = pieces.filter(piece => piece.projection === projection);
		const columns = members[0]!.place.inputs;
		const mask = dropoutMask(dropout, {block, projection, columns}, rows);
		return {a: branch(members), mask: k.upload(mask, [mask.length / columns, columns])};
	});
}

/** B transposed and scaled, `[R, out]`. */
function packB(k: Kernels, pieces: readonly Piece[], adapters: readonly AdapterRows[], total: number, outputs: number) {
	const packed = new Float32Array(total * outputs);
	for (const {owner, names, columns, rank, first, scaling} of pieces) {
		const {values} = adapters[owner]!.adapter.tensors[names.b]!;
		for (let inner = 0; inner < rank; inner++) {
			const start = (first + inner) * outputs;
			for (let output = 0; output < columns.length; output++)
				packed[start + columns[output]!] = scaling * values[output * rank + inner]!;
		}
	}
	return k.upload(packed, [total, outputs]);
}

function ownerMask(
	k: Kernels,
	pieces: readonly Piece[],
	adapters: readonly AdapterRows[],
	total: number,
	rows?: Int32Array,
) {
	const ownerOfToken = adapters.flatMap(({rows: count}, owner) => Array.from({length: count}, () => owner));
	const owners = rows ? Array.from(rows, row => ownerOfToken[row]!) : ownerOfToken;
	const mask = new Float32Array(owners.length * total);
	for (const [row, owner] of owners.entries()) {
		for (const piece of pieces) {
			if (piece.owner === owner) mask.fill(1, row * total + piece.first, row * total + piece.first + piece.rank);
		}
	}
	return k.upload(mask, [owners.length, total]);
}

/** What the backward of an adapted map needs: its input and u; nothing when it is not adapted. */
export type AdaptedSaved =
	| {readonly packed: PackedAdapter; readonly x: DeviceTensor; readonly u: DeviceTensor}
	| undefined;

/** `y = x W + b + u B`, `[N, in]` to `[N, out]`. */
export function adaptedLinear(
	k: Kernels,
	frozen: Linear,
	packed: PackedAdapter | undefined,
	x: DeviceTensor,
): {y: DeviceTensor; saved: AdaptedSaved} {
	const y = linear(k, frozen, x);
	if (!packed) return {y, saved: undefined};
	const u = lowered(k, packed, x);
	const adapted = k.add(y, k.matMul(u, packed.b));
	return {y: packed.overlay ? k.add(adapted, throughOverlay(k, packed.overlay, x)) : adapted, saved: {packed, x, u}};
}

/** `x A^T B`, an overlay's rows for their owners' tokens alone. */
function throughOverlay(k: Kernels, {branches, b, owners}: PackedAdapter, x: DeviceTensor): DeviceTensor {
	const u = k.matMul(x, branches[0]!.a, false, true);
	return k.matMul(owners ? k.mul(u, owners) : u, b);
}

/** The gradient at the input through an overlay. */
function backThroughOverlay(k: Kernels, {branches, b, owners}: PackedAdapter, dy: DeviceTensor): DeviceTensor {
	const du = k.matMul(dy, b, false, true);
	return k.matMul(owners ? k.mul(du, owners) : du, branches[0]!.a);
}

/** `u = x A^T`, `[N, in]` to `[N, R]`, each token for its owner's pieces only. */
export function lowered(k: Kernels, {branches, owners}: PackedAdapter, x: DeviceTensor): DeviceTensor {
	const pieces = branches.map(({a, mask}) => k.matMul(mask ? k.mul(x, mask) : x, a, false, true));
	const whole = pieces.length > 1 ? k.concat(pieces, 1) : pieces[0]!;
	return owners ? k.mul(whole, owners) : whole;
}

/** Writes the gradients of the pieces and returns the one at the input when it is wanted. */
export function adaptedLinearBackward(
	k: Kernels,
	frozen: Linear,
	saved: AdaptedSaved,
	dy: DeviceTensor,
	{wantsInput, gradients}: {wantsInput: boolean; gradients: readonly AdapterTensors[]},
): DeviceTensor | undefined {
	const frozenDx = wantsInput ? linearBackward(k, frozen, dy) : undefined;
	if (!saved) return frozenDx;
	const {packed, x, u} = saved;
	const {overlay} = packed;
	const dx = overlay && frozenDx ? k.add(frozenDx, backThroughOverlay(k, overlay, dy)) : frozenDx;
	unpackB(packed, k.download(k.matMul(u, dy, true)), gradients);
	const product = k.matMul(dy, packed.b, false, true);
	const du = packed.owners ? k.mul(product, packed.owners) : product;
	return branchesBackward(k, packed, x, du, {dx, gradients});
}

function branchesBackward(
	k: Kernels,
	packed: PackedAdapter,
	x: DeviceTensor,
	du: DeviceTensor,
	{dx, gradients}: {dx: DeviceTensor | undefined; gradients: readonly AdapterTensors[]},
): DeviceTensor | undefined {
	const ranks = packed.branches.map(({a}) => a.shape[0]!);
	const parts = ranks.length > 1 ? k.split(du, ranks, 1) : [du];
	let first = 0;
	let sum = dx;
	for (const [index, {a, mask}] of packed.branches.entries()) {
		const part = parts[index]!;
		unpackA(packed, first, k.download(k.matMul(part, mask ? k.mul(x, mask) : x, true)), gradients);
		if (sum) {
			const back = k.matMul(part, a);
			sum = k.add(sum, mask ? k.mul(back, mask) : back);
		}
		first += ranks[index]!;
	}
	return sum;
}

/** The rows of `[ranks of the branch, in]` that begins at `first` to the gradients of A they belong to. */
function unpackA(
	{pieces, inputGain}: PackedAdapter,
	first: number,
	packed: Float32Array,
	gradients: readonly AdapterTensors[],
): void {
	for (const {owner, names, place, rank, first: start} of pieces) {
		const offset = (start - first) * place.inputs;
		if (offset < 0 || offset >= packed.length) continue;
		const values = packed.slice(offset, offset + rank * place.inputs);
		if (inputGain) scaleColumns(values, inputGain);
		gradients[owner]![names.a] = {shape: [rank, place.inputs], values};
	}
}

/** The pieces' columns of `[R, out]` to the gradients of B. */
function unpackB({pieces, b}: PackedAdapter, packed: Float32Array, gradients: readonly AdapterTensors[]): void {
	const outputs = b.shape[1]!;
	for (const {owner, names, place, columns, rank, first, scaling} of pieces) {
		const values = new Float32Array(place.outputs * rank);
		for (let inner = 0; inner < rank; inner++) {
			const start = (first + inner) * outputs;
			for (let output = 0; output < columns.length; output++)
				values[output * rank + inner] = scaling * packed[start + columns[output]!]!;
		}
		gradients[owner]![names.b] = {shape: [place.outputs, rank], values};
	}
}
