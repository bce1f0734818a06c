/**
The floating-point operations of a pass, from shapes alone: what simulated devices are timed by and the benchmark is held to.

An m x k by k x n product counts 2mkn; attention counts the full square of the padded rows; norms, softmax, activations, the
embedding and element-wise operations are not counted. Checked against counts of an independent library.
*/
import {areKeysReached} from './attention.ts';
import type {ModelConfig} from './config.ts';
import {type LoraSpec, placeOf, type Slot} from './lora.ts';
import type {Part} from './split.ts';

/** `lengths`: tokens a row. `targets`: rows the loss is taken at; default every row, as a head without a loss mask computes. */
export type PassShape = {readonly lengths: readonly number[]; readonly targets?: number};

/** FLOPs of the frozen blocks, of the adapters and of the LM head. */
export type Flops = {readonly blocks: number; readonly adapter: number; readonly head: number};

export type PassFlops = {readonly forward: Flops; readonly backward: Flops};

/** The sum of the three. */
export const totalOf = ({blocks, adapter, head}: Flops): number => blocks + adapter + head;

/**
The FLOPs of forward and backward through a part. Without `lora` nothing is trained in it.
`wantsInputGradient` defaults to true for a part without the embedding; below the lowest adapted projection nothing is computed.
*/
export function passFlops(
	config: ModelConfig,
	part: Part,
	shape: PassShape,
	lora?: Pick<LoraSpec, 'rank' | 'targets'>,
	{wantsInputGradient = !part.hasEmbedding} = {},
): PassFlops {
	const tokens = shape.lengths.reduce((sum, length) => sum + length, 0);
	const targets = part.hasHead ? (shape.targets ?? tokens) : tokens;
	const forward = {blocks: 0, adapter: 0, head: part.hasHead ? headFlops(config, targets) : 0};
	const backward = {blocks: 0, adapter: 0, head: 0};
	for (let index = part.from; index < part.to; index++) {
		const isLast = index === part.to - 1;
		const block = {config, tokens, rest: isLast ? targets : tokens, square: squareOf(shape.lengths), lora};
		const ahead = blockForwardFlops(block);
		const back = blockBackwardFlops(block, index > part.from || wantsInputGradient);
		forward.blocks += ahead.blocks;
		forward.adapter += ahead.adapter;
		backward.blocks += back.blocks;
		backward.adapter += back.adapter;
	}
	const isHeadReached = wantsInputGradient || (lora !== undefined && part.to > part.from);
	if (part.hasHead && isHeadReached) backward.head = headFlops(config, targets);
	return {forward, backward};
}

const headFlops = ({hidden, vocabulary}: ModelConfig, rows: number): number => 2 * hidden * vocabulary * rows;

/** Positions of the padded square: `B T^2`. */
const squareOf = (lengths: readonly number[]): number => lengths.length * Math.max(0, ...lengths) ** 2;

/** `rest`: the rows that go on after attention. */
type BlockShape = {
	readonly config: ModelConfig;
	readonly tokens: number;
	readonly rest: number;
	readonly square: number;
	readonly lora: Pick<LoraSpec, 'rank' | 'targets'> | undefined;
};

/** The frozen products of each slot. */
function slotFlops({config, tokens, rest}: BlockShape): Record<Slot, number> {
	const {hidden, heads, kvHeads, headDim, ffn, family} = config;
	return {
		qkv: 2 * tokens * hidden * (heads + 2 * kvHeads) * headDim,
		o: 2 * rest * heads * headDim * hidden,
		gate: family === 'llama' ? 2 * rest * hidden * ffn : 0,
		up: 2 * rest * hidden * ffn,
		down: 2 * rest * ffn * hidden,
	};
}

/** One of the products of the padded square with keys or values; a forward has two. */
const squareProduct = ({config: {heads, headDim}, square}: BlockShape): number => 2 * square * heads * headDim;

/** The products with A and with B of a projection, and where it lies. */
function adapterProducts({config, tokens, rest, lora}: BlockShape) {
	return (lora?.targets ?? []).map(projection => {
		const {inputs, outputs, slot} = placeOf(config, projection);
		const rows = slot === 'qkv' ? tokens : rest;
		return {projection, slot, a: 2 * rows * inputs * lora!.rank, b: 2 * rows * outputs * lora!.rank};
	});
}

function blockForwardFlops(shape: BlockShape): {blocks: number; adapter: number} {
	const frozen = Object.values(slotFlops(shape)).reduce((sum, flops) => sum + flops, 0);
	const adapter = adapterProducts(shape).reduce((sum, {a, b}) => sum + a + b, 0);
	return {blocks: frozen + 2 * squareProduct(shape), adapter};
}

/** The maps that a map's input comes from, in the same block. */
const below: Readonly<Record<Slot, readonly Slot[]>> = {
	down: ['gate', 'up', 'o', 'qkv'],
	up: ['o', 'qkv'],
	gate: ['o', 'qkv'],
	o: ['qkv'],
	qkv: [],
};

/** A slot's own backward product is needed when something below it is trained or wanted. */
function blockBackwardFlops(shape: BlockShape, wantsInput: boolean): {blocks: number; adapter: number} {
	const products = adapterProducts(shape);
	const slots = slotFlops(shape);
	const isAdapted = (slot: Slot) => products.some(product => product.slot === slot);
	let blocks = 0;
	let adapter = 0;
	for (const slot of Object.keys(below) as Slot[]) {
		const isInputReached = wantsInput || below[slot].some(isAdapted);
		if (isInputReached) blocks += slots[slot];
		for (const {a, b} of products.filter(product => product.slot === slot))
			adapter += 2 * b + a + (isInputReached ? a : 0);
	}
	if (wantsInput || isAdapted('qkv')) {
		const projections = products.map(({projection}) => projection);
		blocks += (areKeysReached(shape.config, projections, wantsInput) ? 4 : 3) * squareProduct(shape);
	}
	return {blocks, adapter};
}
