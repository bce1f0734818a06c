/**
A second model of the same weights: row by row and head by head in plain TensorFlow.js operations, whose gradients come from its tape.
Slow and simple on purpose; shares no code with the model it checks.
*/
import type {ModelConfig} from '../../runtime/model/config.ts';
import type {loadNativeTensorflow} from '../../runtime/tensor/binding.ts';
import type {DeviceTensor} from '../../runtime/tensor/kernels.ts';

export type TensorFlow = ReturnType<typeof loadNativeTensorflow>;
export type Matrix = ReturnType<TensorFlow['tensor2d']>;

export type TapeInput = {
	readonly tf: TensorFlow;
	readonly config: ModelConfig;
	/** Frozen weights by name. */
	readonly weights: ReadonlyMap<string, DeviceTensor>;
	/** `block.<i>.<projection>.A` and `.B`. */
	readonly adapter: Readonly<Record<string, DeviceTensor>>;
	/** The factor of B A x. */
	readonly scaling: number;
	/** Dropout masks `[tokens, in]` by `block.<i>.<projection>`; absent is none. */
	readonly masks?: ReadonlyMap<string, DeviceTensor> | undefined;
};

/** Activations `[tokens, H]` through blocks `[from, to)`, one row of the batch after another. */
export function tapeBlocks(
	input: TapeInput,
	activations: Matrix,
	lengths: readonly number[],
	from: number,
	to: number,
): Matrix {
	const {tf} = input;
	let start = 0;
	const rows = lengths.map(length => {
		let x = tf.slice(activations, [start, 0], [length, -1]);
		for (let block = from; block < to; block++) x = tapeBlock(input, x, block, start);
		start += length;
		return x;
	});
	return tf.concat(rows, 0);
}

/** `sum weights[j] loss_j` of the targets after the last block. */
export function tapeLoss(
	{tf, config, weights}: TapeInput,
	activations: Matrix,
	{
		positions,
		labels,
		targetWeights,
		smoothing,
	}: {positions: number[]; labels: number[]; targetWeights: number[]; smoothing: number},
): ReturnType<TensorFlow['scalar']> {
	const isGpt2 = config.family === 'gpt2';
	const normed = isGpt2
		? layerNorm(tf, tf.gather(activations, positions), weights, 'transformer.ln_f', config.normEps)
		: rmsNorm(tf, tf.gather(activations, positions), weights, 'model.norm', config.normEps);
	const tied = isGpt2 ? 'transformer.wte.weight' : 'model.embed_tokens.weight';
	const head = weights.get(config.isHeadTied ? tied : 'lm_head.weight') as Matrix;
	const logProbabilities = tf.logSoftmax(tf.matMul(normed, tf.transpose(head)));
	const wanted = tf.add(
		tf.mul(tf.oneHot(labels, config.vocabulary), 1 - smoothing),
		tf.fill([labels.length, config.vocabulary], smoothing / config.vocabulary),
	);
	const losses = tf.neg(tf.sum(tf.mul(wanted, logProbabilities), 1));
	return tf.sum(tf.mul(losses, tf.tensor1d(targetWeights))) as never;
}

function tapeBlock(input: TapeInput, x: Matrix, block: number, start: number): Matrix {
	return input.config.family === 'gpt2' ? gpt2Block(input, x, block, start) : llamaBlock(input, x, block, start);
}

function gpt2Block(input: TapeInput, x: Matrix, block: number, start: number): Matrix {
	const {tf, config, weights} = input;
	const {heads, hidden, normEps} = config;
	const at = `transformer.h.${block}`;
	const map = (value: Matrix, name: string) =>
		tf.add(
			tf.matMul(value, weights.get(`${at}.${name}.weight`) as Matrix),
			weights.get(`${at}.${name}.bias`)!,
		) as Matrix;
	const lora = (value: Matrix, projection: string, width: number) =>
		adapted(input, value, `block.${block}.${projection}`, start, width);
	const a = layerNorm(tf, x, weights, `${at}.ln_1`, normEps);
	const fused = tf.add(map(a, 'attn.c_attn'), lora(a, 'qkv', 3 * hidden));
	const [q, k, v] = ['q', 'k', 'v'].map((name, index) =>
		tf.add(tf.slice(fused, [0, index * hidden], [-1, hidden]), lora(a, name, hidden)),
	) as [Matrix, Matrix, Matrix];
	const mixed = attention(tf, split(tf, q, heads), split(tf, k, heads), split(tf, v, heads));
	const middle = tf.add(x, tf.add(map(mixed, 'attn.c_proj'), lora(mixed, 'o', hidden))) as Matrix;
	const c = layerNorm(tf, middle, weights, `${at}.ln_2`, normEps);
	const u = tf.add(map(c, 'mlp.c_fc'), lora(c, 'up', config.ffn)) as Matrix;
	const inner = tf.mul(Math.sqrt(2 / Math.PI), tf.add(u, tf.mul(0.044715, tf.pow(u, 3))));
	const y = tf.mul(tf.mul(0.5, u), tf.add(1, tf.tanh(inner))) as Matrix;
	return tf.add(middle, tf.add(map(y, 'mlp.c_proj'), lora(y, 'down', hidden))) as Matrix;
}

function llamaBlock(input: TapeInput, x: Matrix, block: number, start: number): Matrix {
	const {tf, config, weights} = input;
	const {heads, kvHeads, headDim, hidden, ffn, normEps} = config;
	const at = `model.layers.${block}`;
	const map = (value: Matrix, name: string, projection: string, width: number): Matrix => {
		const product = tf.matMul(value, weights.get(`${at}.${name}.weight`) as Matrix, false, true);
		const bias = weights.get(`${at}.${name}.bias`);
		const y = bias ? tf.add(product, bias) : product;
		return tf.add(y, adapted(input, value, `block.${block}.${projection}`, start, width)) as Matrix;
	};
	const a = rmsNorm(tf, x, weights, `${at}.input_layernorm`, normEps);
	const q = split(tf, map(a, 'self_attn.q_proj', 'q', heads * headDim), heads).map(head =>
		turned(tf, head, config.ropeTheta),
	);
	const k = split(tf, map(a, 'self_attn.k_proj', 'k', kvHeads * headDim), kvHeads).map(head =>
		turned(tf, head, config.ropeTheta),
	);
	const v = split(tf, map(a, 'self_attn.v_proj', 'v', kvHeads * headDim), kvHeads);
	const group = heads / kvHeads;
	const shared = (of: Matrix[]) => q.map((_, head) => of[Math.floor(head / group)]!);
	const mixed = attention(tf, q, shared(k), shared(v));
	const middle = tf.add(x, map(mixed, 'self_attn.o_proj', 'o', hidden)) as Matrix;
	const c = rmsNorm(tf, middle, weights, `${at}.post_attention_layernorm`, normEps);
	const gate = map(c, 'mlp.gate_proj', 'gate', ffn);
	const y = tf.mul(tf.mul(gate, tf.sigmoid(gate)), map(c, 'mlp.up_proj', 'up', ffn)) as Matrix;
	return tf.add(middle, map(y, 'mlp.down_proj', 'down', hidden)) as Matrix;
}

/** `scaling (mask x) A^T B^T`, or zeros where nothing is adapted. */
function adapted(
	{tf, adapter, scaling, masks}: TapeInput,
	x: Matrix,
	name: string,
	start: number,
	width: number,
): DeviceTensor {
	const a = adapter[`${name}.A`] as Matrix | undefined;
	if (!a) return tf.zeros([x.shape[0], width]);
	const mask = masks?.get(name);
	const kept = mask ? tf.mul(x, tf.slice(mask as Matrix, [start, 0], [x.shape[0], -1])) : x;
	const u = tf.matMul(kept as Matrix, a, false, true);
	return tf.mul(scaling, tf.matMul(u, adapter[`${name}.B`] as Matrix, false, true));
}

function attention(tf: TensorFlow, q: Matrix[], k: Matrix[], v: Matrix[]): Matrix {
	const length = q[0]!.shape[0];
	const seen = tf.tensor2d(
		Array.from({length: length * length}, (_, index) => (index % length <= Math.floor(index / length) ? 0 : -1e9)),
		[length, length],
	);
	const mixed = q.map((query, head) => {
		const scores = tf.div(tf.matMul(query, k[head]!, false, true), Math.sqrt(query.shape[1]));
		return tf.matMul(tf.softmax(tf.add(scores, seen)) as Matrix, v[head]!);
	});
	return tf.concat(mixed, 1) as Matrix;
}

/** By slices, because the gradient of a split into one piece is wrong in TensorFlow.js. */
function split(tf: TensorFlow, x: Matrix, heads: number): Matrix[] {
	const width = x.shape[1] / heads;
	return Array.from({length: heads}, (_, head) => tf.slice(x, [0, head * width], [-1, width]));
}

function turned(tf: TensorFlow, head: Matrix, theta: number): Matrix {
	const [length, headDim] = head.shape;
	const half = headDim / 2;
	const angles = Array.from(
		{length: length * half},
		(_, index) => Math.floor(index / half) * theta ** (-(index % half) / half),
	);
	const cos = tf.tensor2d(angles.map(Math.cos), [length, half]);
	const sin = tf.tensor2d(angles.map(Math.sin), [length, half]);
	const [first, second] = split(tf, head, 2) as [Matrix, Matrix];
	return tf.concat(
		[tf.sub(tf.mul(first, cos), tf.mul(second, sin)), tf.add(tf.mul(first, sin), tf.mul(second, cos))],
		1,
	) as Matrix;
}

function layerNorm(
	tf: TensorFlow,
	x: DeviceTensor,
	weights: ReadonlyMap<string, DeviceTensor>,
	name: string,
	eps: number,
): Matrix {
	const {mean, variance} = tf.moments(x, 1, true);
	const normed = tf.div(tf.sub(x, mean), tf.sqrt(tf.add(variance, eps)));
	return tf.add(tf.mul(normed, weights.get(`${name}.weight`)!), weights.get(`${name}.bias`)!) as Matrix;
}

function rmsNorm(
	tf: TensorFlow,
	x: DeviceTensor,
	weights: ReadonlyMap<string, DeviceTensor>,
	name: string,
	eps: number,
): Matrix {
	const normed = tf.div(x, tf.sqrt(tf.add(tf.mean(tf.square(x), 1, true), eps)));
	return tf.mul(normed, weights.get(`${name}.weight`)!) as Matrix;
}
