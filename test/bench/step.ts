/**
One split LoRA step against the speed of this machine's own matrix products, with the sizes of the same model, measured just before
and just after each step, so that a machine whose speed wanders moves both. The bar: the median step takes at most 1.25 times what its
FLOPs take at the rate around it.
*/
import type {Batch, Targets} from '../../runtime/model/batch.ts';
import type {ModelConfig, WeightSource} from '../../runtime/model/config.ts';
import {passFlops, totalOf} from '../../runtime/model/flops.ts';
import {type Adapter, blocksOf, initAdapter, type LoraSpec} from '../../runtime/model/lora.ts';
import {type Part, SplitModel} from '../../runtime/model/split.ts';
import type {Backend, Kernels} from '../../runtime/tensor/backend.ts';
import {openWeights} from '../../runtime/weights/load.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {gpt2Small} from '../_helpers/gpt2-small.ts';
import {medianOf} from '../_helpers/median.ts';
import {randomSource} from '../_helpers/random-model.ts';
import {smollm2Path} from '../_helpers/shared.ts';
import type {Row} from './rows.ts';

const ratioBar = 1.25;
const memoryBarGb = 3;
const repetitions = 9;
const rowsOfBatch = 8;
const tokensOfRow = 64;
const targetFraction = 0.4;
const spec: LoraSpec = {rank: 4, alpha: 32, targets: ['q', 'v'], dropout: 0, isRankStabilised: false};

/** The rows of GPT-2 small (random weights, cut 3) and, where it is on this machine, of SmolLM2-135M (cut 10). */
export async function run(): Promise<Row[]> {
	const backend = await nativeBackend();
	const rows = await benchmark('gpt2-small', backend, randomSource(gpt2Small, 1), 3);
	if (!smollm2Path) return rows;
	return [...rows, ...(await benchmark('smollm2-135m', backend, await openWeights(smollm2Path), 10))];
}

/** The largest resident memory of this process so far: of the first model only. */
function memoryRow(name: string): Row {
	const value = process.resourceUsage().maxRSS / 1e6;
	return {name: `${name}: peak resident memory`, value, unit: 'GB', bar: memoryBarGb, holds: value <= memoryBarGb};
}

async function benchmark(name: string, backend: Backend, source: WeightSource, cut: number): Promise<Row[]> {
	const {config} = source;
	const parts: Parts = {
		client: {from: 0, to: cut, hasEmbedding: true, hasHead: false},
		server: {from: cut, to: config.blocks, hasEmbedding: false, hasHead: true},
	};
	const client = await SplitModel.load(source, backend, parts.client);
	const server = await SplitModel.load(source, backend, parts.server);
	const adapter: Adapter = {...spec, tensors: initAdapter(config, spec, {from: 0, to: config.blocks}, 'bench')};
	const {batch, targets} = batchOf(config);
	const step = () => splitStep(client, server, {batch, targets, adapter});
	step();
	step();
	const memory = memoryRow(name);
	const liveBefore = backend.kernels.liveTensors();
	const rate = () => productRate(backend.kernels, config, targets.positions.length);
	const timings: Timing[] = [];
	const rates = [rate()];
	for (let repetition = 0; repetition < repetitions; repetition++) {
		timings.push(step());
		rates.push(rate());
	}
	const leaked = backend.kernels.liveTensors() - liveBefore;
	client.dispose();
	server.dispose();
	await source.close();
	const rows = rowsOf(name, {timings, rates}, flopsOf(config, parts, targets), leaked);
	return name === 'gpt2-small' ? [...rows, memory] : rows;
}

type Parts = {readonly client: Part; readonly server: Part};
type Timing = {readonly forward: number; readonly main: number; readonly backward: number; readonly whole: number};

/** Steps, and the FLOP/s of products before the first and after each of them. */
type Measured = {readonly timings: readonly Timing[]; readonly rates: readonly number[]};

function rowsOf(name: string, {timings, rates}: Measured, flops: number, leaked: number): Row[] {
	const best = (key: keyof Timing) => Math.min(...timings.map(timing => timing[key]));
	const ratios = timings.map(({whole}, at) => (whole * (rates[at]! + rates[at + 1]!)) / 2 / flops);
	const ratio = medianOf(ratios);
	return [
		{name: `${name}: client forward`, value: best('forward'), unit: 's'},
		{name: `${name}: main server's step`, value: best('main'), unit: 's'},
		{name: `${name}: client backward`, value: best('backward'), unit: 's'},
		{name: `${name}: whole step`, value: best('whole'), unit: 's'},
		{name: `${name}: needed operations`, value: flops / 1e9, unit: 'GFLOP'},
		{name: `${name}: rate of this machine's products`, value: Math.max(...rates) / 1e9, unit: 'GFLOP/s'},
		{
			name: `${name}: step against its products alone`,
			value: ratio,
			unit: 'ratio',
			bar: ratioBar,
			holds: ratio <= ratioBar,
		},
		{name: `${name}: the least of these ratios`, value: Math.min(...ratios), unit: 'ratio'},
		{name: `${name}: the largest`, value: Math.max(...ratios), unit: 'ratio'},
		{name: `${name}: tensors left by the steps`, value: leaked, unit: 'tensors', bar: 0, holds: leaked === 0},
	];
}

/** Only what must be computed: see `passFlops`. */
function flopsOf(config: ModelConfig, {client, server}: Parts, {positions}: Targets): number {
	const lengths = Array.from({length: rowsOfBatch}, () => tokensOfRow);
	return [client, server].reduce((sum, part) => {
		const {forward, backward} = passFlops(config, part, {lengths, targets: positions.length}, spec);
		return sum + totalOf(forward) + totalOf(backward);
	}, 0);
}

function batchOf(config: ModelConfig): {batch: Batch; targets: Targets} {
	const tokens = rowsOfBatch * tokensOfRow;
	const ids = Int32Array.from({length: tokens}, (_, index) => (index * 7919) % config.vocabulary);
	const places = Array.from(ids.keys()).filter(
		index => index % tokensOfRow >= tokensOfRow * (1 - targetFraction) - 1 && index % tokensOfRow < tokensOfRow - 1,
	);
	const positions = Int32Array.from(places);
	return {
		batch: {ids, lengths: Array.from({length: rowsOfBatch}, () => tokensOfRow)},
		targets: {
			positions,
			labels: positions.map(position => ids[position + 1]!),
			weights: new Float32Array(positions.length).fill(1 / positions.length),
		},
	};
}

/** Seconds of the three passes of a step. */
function splitStep(
	client: SplitModel,
	server: SplitModel,
	{batch, targets, adapter}: {batch: Batch; targets: Targets; adapter: Adapter},
): Timing {
	const own = (part: Part): Adapter => ({...adapter, tensors: blocksOf(adapter.tensors, part)});
	const start = performance.now();
	const {activations, saved} = client.forward(batch, own(client.part));
	const forwardEnd = performance.now();
	const step = server.trainStep({lengths: batch.lengths, activations}, targets, own(server.part), {
		wantsInputGradient: true,
	});
	const mainEnd = performance.now();
	client.backward(saved, step.inputGradient!);
	const end = performance.now();
	return {
		forward: (forwardEnd - start) / 1e3,
		main: (mainEnd - forwardEnd) / 1e3,
		backward: (end - mainEnd) / 1e3,
		whole: (end - start) / 1e3,
	};
}

/**
FLOP/s of the products a step is made of, in its proportions: those of every block, forward and back, and the vocabulary's.
Every block has weights of its own, as in the model, so that they come from memory and not from the cache.
*/
function productRate(k: Kernels, config: ModelConfig, targets: number): number {
	return k.scope(() => {
		const inputs = productSizes(config, targets).map(([m, n]) => filled(k, m, n));
		const blocks = Array.from({length: config.blocks}, (_, block) => {
			const products = productSizes(config, targets).map(([m, n, p], at) => ({
				a: inputs[at]!,
				n,
				p,
				size: 2 * m * n * p,
			}));
			return products.slice(block === 0 ? 0 : 1).map(({a, n, p, size}) => ({a, b: filled(k, p, n), size}));
		});
		const start = performance.now();
		let flops = 0;
		for (const {a, b, size} of blocks.flat()) {
			const forward = k.matMul(a, b, false, true);
			k.dispose([forward, k.matMul(forward, b)]);
			flops += 2 * size;
		}
		return flops / ((performance.now() - start) / 1e3);
	});
}

/** `m x n` by `n x p`, the vocabulary's first. */
function productSizes(
	{hidden, ffn, heads, kvHeads, headDim, vocabulary, family}: ModelConfig,
	targets: number,
): [number, number, number][] {
	const tokens = rowsOfBatch * tokensOfRow;
	return [
		[targets, hidden, vocabulary],
		[tokens, hidden, (heads + 2 * kvHeads) * headDim],
		[tokens, heads * headDim, hidden],
		[tokens, hidden, family === 'llama' ? 2 * ffn : ffn],
		[tokens, ffn, hidden],
	];
}

function filled(k: Kernels, rows: number, columns: number) {
	return k.addScalar(k.upload(new Float32Array(rows * columns).fill(0.01), [rows, columns]), 0.001);
}
