/**
A pre-norm transformer block, the same for both families: forward that keeps what backward needs, and backward down to what is trained.

    x -> norm1 -> q|k|v -> attention -> o -> (+ x) -> norm2 -> up -> activation -> down -> (+)
*/
import type {DeviceTensor, Kernels} from '../tensor/backend.ts';
import {
	type Adaptation,
	type AdaptedSaved,
	adaptedLinear,
	adaptedLinearBackward,
	packAdapter,
} from './adapted-linear.ts';
import {type AttentionLayout, type AttentionSaved, areKeysReached, attend, attendBackward} from './attention.ts';
import type {ModelConfig} from './config.ts';
import {
	type Activation,
	type ActivationSaved,
	activate,
	activateBackward,
	type Linear,
	type Norm,
	type NormSaved,
	norm,
	normBackward,
} from './layers.ts';
import type {AdapterTensors, Slot} from './lora.ts';

/** The frozen weights of a block. `qkv` is fused along the outputs, and so are gate and up of a gated MLP. */
export type Block = {
	readonly index: number;
	readonly norm1: Norm;
	readonly qkv: Linear;
	readonly o: Linear;
	readonly norm2: Norm;
	readonly up: Linear;
	readonly down: Linear;
	readonly activation: Activation;
};

/** The rows that go on after attention, as values and on the device; the others only serve as keys and values. */
export type RowChoice = {readonly values: Int32Array; readonly index: DeviceTensor};

/** What the blocks of a pass have in common. */
export type BlockPass = {
	readonly k: Kernels;
	readonly config: ModelConfig;
	readonly layout: AttentionLayout;
	readonly adaptation: Adaptation;
	/** False when no backward will follow. */
	readonly keeps: boolean;
};

/** What the backward of a block needs. */
export type BlockSaved = {
	readonly norm1: NormSaved;
	readonly qkv: AdaptedSaved;
	readonly attention: AttentionSaved;
	readonly o: AdaptedSaved;
	readonly norm2: NormSaved;
	readonly up: AdaptedSaved;
	readonly activation: ActivationSaved;
	readonly down: AdaptedSaved;
};

/** `[N, H]` to `[N, H]`, or to the chosen rows `[rows, H]`. */
export function blockForward(
	pass: BlockPass,
	block: Block,
	x: DeviceTensor,
	rows?: RowChoice,
): {y: DeviceTensor; saved: BlockSaved | undefined} {
	return pass.k.scope(() => {
		const {y, saved} = computeForward(pass, block, x, rows);
		return {y, saved: pass.keeps ? saved : undefined};
	});
}

function computeForward(pass: BlockPass, block: Block, x: DeviceTensor, rows: RowChoice | undefined) {
	const {k, config, layout, adaptation, keeps} = pass;
	const pack = (slot: Slot, of?: Int32Array) => packAdapter(k, config, {block: block.index, slot}, adaptation, of);
	const norm1 = norm(k, block.norm1, x);
	const qkv = adaptedLinear(k, block.qkv, pack('qkv'), norm1.y);
	const attention = attend(k, config, layout, qkv.y);
	const mixed = rows ? k.gatherRows(attention.mixed, rows.index) : attention.mixed;
	const o = adaptedLinear(k, block.o, pack('o', rows?.values), mixed);
	const residual = k.add(rows ? k.gatherRows(x, rows.index) : x, o.y);
	const norm2 = norm(k, block.norm2, residual);
	const up = adaptedLinear(k, block.up, pack('up', rows?.values), norm2.y);
	const activation = activate(k, block.activation, up.y, keeps);
	const down = adaptedLinear(k, block.down, pack('down', rows?.values), activation.y);
	const saved: BlockSaved = {
		norm1: norm1.saved,
		qkv: qkv.saved,
		attention: attention.saved,
		o: o.saved,
		norm2: norm2.saved,
		up: up.saved,
		activation: activation.saved,
		down: down.saved,
	};
	return {y: k.add(residual, down.y), saved};
}

/** What the backward of a pass has in common; `gradients[k]` receives those of the k-th adapter. */
export type BackwardPass = {
	readonly k: Kernels;
	readonly config: ModelConfig;
	readonly layout: AttentionLayout;
	readonly gradients: readonly AdapterTensors[];
};

/**
Goes down to the lowest adapted map, or to the input when its gradient is wanted, and frees what was saved.
`dy` is `[N, H]`, or `[rows, H]` when the forward chose rows; the input gradient is always `[N, H]`.
*/
export function blockBackward(
	pass: BackwardPass,
	block: Block,
	saved: BlockSaved,
	dy: DeviceTensor,
	{wantsInput, rows}: {wantsInput: boolean; rows?: RowChoice | undefined},
): DeviceTensor | undefined {
	const dx = pass.k.scope(() => computeBackward(pass, block, saved, dy, {wantsInput, rows}));
	pass.k.dispose(saved);
	return dx;
}

function computeBackward(
	{k, config, layout, gradients}: BackwardPass,
	block: Block,
	saved: BlockSaved,
	dy: DeviceTensor,
	{wantsInput, rows}: {wantsInput: boolean; rows?: RowChoice | undefined},
): DeviceTensor | undefined {
	const isQkvReached = wantsInput || saved.qkv !== undefined;
	const isOReached = isQkvReached || saved.o !== undefined;
	const isUpReached = isOReached || saved.up !== undefined;
	const qkvProjections = saved.qkv?.packed.pieces.map(piece => piece.projection) ?? [];
	const needsKeys = areKeysReached(config, qkvProjections, wantsInput);
	const back = (slot: Slot, at: DeviceTensor, wants: boolean) =>
		adaptedLinearBackward(k, block[slot], saved[slot], at, {wantsInput: wants, gradients});

	const dActivated = back('down', dy, isUpReached);
	if (!dActivated) return undefined;
	const dNorm2 = back('up', activateBackward(k, block.activation, saved.activation, dActivated), isOReached);
	if (!dNorm2) return undefined;
	const dResidual = k.add(dy, normBackward(k, block.norm2, saved.norm2, dNorm2));
	const dMixed = back('o', dResidual, isQkvReached);
	if (!dMixed) return undefined;
	const spread = (rowsOnly: DeviceTensor) => (rows ? k.scatterRows(rowsOnly, rows.index, layout.tokens) : rowsOnly);
	const dQkv = attendBackward(k, config, layout, saved.attention, spread(dMixed), needsKeys);
	const dNorm1 = back('qkv', dQkv, wantsInput);
	return dNorm1 && k.add(spread(dResidual), normBackward(k, block.norm1, saved.norm1, dNorm1));
}
