/**
A pre-norm transformer block, the same for both families: forward that keeps what backward needs, and backward down to what is trained.

    x -> norm1 -> q|k|v -> attention -> o -> (+ x) -> norm2 -> up (and gate) -> activation -> down -> (+)
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
	type ActivationSaved,
	gelu,
	type Linear,
	type Norm,
	type NormSaved,
	norm,
	normBackward,
	swiglu,
} from './layers.ts';
import type {AdapterTensors, Slot} from './lora.ts';

/** The frozen weights of a block. `qkv` is fused along the outputs; with a gate the MLP is SwiGLU, without it GELU. */
export type Block = {
	readonly index: number;
	readonly norm1: Norm;
	readonly qkv: Linear;
	readonly o: Linear;
	readonly norm2: Norm;
	readonly gate?: Linear;
	readonly up: Linear;
	readonly down: Linear;
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
	readonly gate: AdaptedSaved;
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
	const {k, config, layout, adaptation, keeps} = pass;
	const map = (slot: Slot, frozen: Linear, input: DeviceTensor, of?: Int32Array) =>
		adaptedLinear(
			k,
			frozen,
			packAdapter(k, config, {block: block.index, slot, inputGain: frozen.inputGain}, adaptation, of),
			input,
		);
	return k.scope(() => {
		const norm1 = norm(k, block.norm1, x);
		const qkv = map('qkv', block.qkv, norm1.y);
		const attention = k.consume(qkv.y, () => attend(k, config, layout, qkv.y));
		const mixed = rows ? k.gatherRows(attention.mixed, rows.index) : attention.mixed;
		const o = map('o', block.o, mixed, rows?.values);
		const residual = k.add(rows ? k.gatherRows(x, rows.index) : x, o.y);
		const norm2 = norm(k, block.norm2, residual);
		const gate = block.gate && map('gate', block.gate, norm2.y, rows?.values);
		const up = map('up', block.up, norm2.y, rows?.values);
		const activation = gate ? swiglu(k, gate.y, up.y, keeps) : gelu(k, up.y, keeps);
		k.dispose([gate?.y, up.y]);
		const down = map('down', block.down, activation.y, rows?.values);
		const saved = activation.saved && {
			norm1: norm1.saved,
			qkv: qkv.saved,
			attention: attention.saved,
			o: o.saved,
			norm2: norm2.saved,
			gate: gate?.saved,
			up: up.saved,
			activation: activation.saved,
			down: down.saved,
		};
		return {y: k.add(residual, down.y), saved};
	});
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
	const isMlpReached = isOReached || saved.up !== undefined || saved.gate !== undefined;
	const qkvProjections = saved.qkv?.packed.pieces.map(piece => piece.projection) ?? [];
	const needsKeys = areKeysReached(config, qkvProjections, wantsInput);
	const back = (slot: Slot, at: DeviceTensor, wants: boolean) =>
		adaptedLinearBackward(k, block[slot]!, saved[slot], at, {wantsInput: wants, gradients});

	const dActivated = back('down', dy, isMlpReached);
	if (!dActivated) return undefined;
	const dUp = back('up', k.mul(dActivated, saved.activation.up), isOReached);
	const dGate = saved.activation.gate && back('gate', k.mul(dActivated, saved.activation.gate), isOReached);
	if (!dUp) return undefined;
	const dNorm2 = dGate ? k.add(dUp, dGate) : dUp;
	const dResidual = normBackward(k, block.norm2, saved.norm2, dNorm2, dy);
	const dMixed = back('o', dResidual, isQkvReached);
	if (!dMixed) return undefined;
	const spread = (rowsOnly: DeviceTensor) => (rows ? k.scatterRows(rowsOnly, rows.index, layout.tokens) : rowsOnly);
	const dQkv = attendBackward(k, config, layout, saved.attention, spread(dMixed), needsKeys);
	const dNorm1 = back('qkv', dQkv, wantsInput);
	return dNorm1 && normBackward(k, block.norm1, saved.norm1, dNorm1, spread(dResidual));
}
