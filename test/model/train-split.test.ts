import test from 'ava';
import type {Batch, Targets} from '../../runtime/model/batch.ts';
import {weightedMean} from '../../runtime/model/combine.ts';
import {type Adapter, type AdapterTensors, blocksOf, cloneAdapter} from '../../runtime/model/lora.ts';
import {
	initialOptimizerState,
	type OptimizerSpec,
	type OptimizerState,
	optimizerStep,
} from '../../runtime/model/optimizer.ts';
import {learningRateAt, type Schedule} from '../../runtime/model/schedule.ts';
import {SplitModel} from '../../runtime/model/split.ts';
import {openWeights} from '../../runtime/weights/load.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {
	adapterDifference,
	differenceMax,
	goldenAdapter,
	goldenBatch,
	goldenJson,
	goldenPath,
	goldenTensors,
	type PackedBatch,
	weightedSum,
} from '../_helpers/golden.ts';

const backend = await nativeBackend();
const clients = [0, 1, 2];
const weights = [0.3, 0.5, 0.2];
const steps = 12;
const stepsPerRound = 4;
const L = 4;

type Runs = {runs: Record<string, {f64: {losses: number[][]}}>};
const runs = goldenJson<Runs>('train-split/golden.json').runs;

const batches: PackedBatch[][] = [];
for (let batch = 0; batch < 4; batch++) {
	batches.push(
		await Promise.all(
			clients.map(client => goldenBatch('train-split/data.safetensors', `batch${batch}.client${client}.`)),
		),
	);
}
const init = goldenAdapter(await goldenTensors('train-split/lora_init.safetensors'));

/** An owner of parameters with its optimizer. */
class Owner {
	readonly tensors: AdapterTensors;
	state: OptimizerState = initialOptimizerState();
	readonly spec: OptimizerSpec;
	readonly schedule: Schedule;

	constructor(tensors: AdapterTensors, spec: OptimizerSpec, schedule: Schedule) {
		this.tensors = cloneAdapter(tensors);
		this.spec = spec;
		this.schedule = schedule;
	}

	get adapter(): Adapter {
		return {alpha: 16, isRankStabilised: false, tensors: this.tensors};
	}

	update(gradients: AdapterTensors): void {
		const lr = learningRateAt(this.schedule, this.state.step);
		this.state = optimizerStep(this.spec, this.state, {parameters: this.tensors, gradients, lr});
	}

	set(tensors: AdapterTensors): void {
		for (const [name, {values}] of Object.entries(tensors)) this.tensors[name]!.values.set(values);
	}
}

const load = async (from: number, to: number, hasEmbedding: boolean, hasHead: boolean) => {
	const source = await openWeights(goldenPath('tiny-gpt2/model'));
	return SplitModel.load(source, backend, {from, to, hasEmbedding, hasHead});
};

const joined = (own: PackedBatch[]): {batch: Batch & {ids: Int32Array}; targets: Targets} => {
	let offset = 0;
	const positions: number[] = [];
	for (const {batch, targets} of own) {
		positions.push(...Array.from(targets.positions, position => position + offset));
		offset += batch.ids.length;
	}
	return {
		batch: {
			lengths: own.flatMap(({batch}) => batch.lengths),
			ids: Int32Array.from(own.flatMap(({batch}) => [...batch.ids])),
		},
		targets: {
			positions: Int32Array.from(positions),
			labels: Int32Array.from(own.flatMap(({targets}) => [...targets.labels])),
			weights: Float32Array.from(
				own.flatMap(({targets}, client) => [...targets.weights].map(weight => weight * weights[client]!)),
			),
		},
	};
};

/** The mean loss of each client from the losses of the joined targets. */
const meansOf = (own: PackedBatch[], losses: Float32Array): number[] => {
	let start = 0;
	return own.map(({targets}) => {
		const mean = weightedSum(losses.subarray(start, start + targets.weights.length), targets.weights);
		start += targets.weights.length;
		return mean;
	});
};

const scaled = (values: Float32Array, factor: number) => values.map(value => value * factor);

type Setting = {
	mode: 'parallel' | 'sequential';
	isWeighted: boolean;
	cut: number;
	spec: OptimizerSpec;
	schedule: Schedule;
};
type Outcome = {losses: number[][]; clients: AdapterTensors; server: AdapterTensors; states: OptimizerState[]};

async function splitRun({mode, isWeighted, cut, spec, schedule}: Setting): Promise<Outcome> {
	const head = await load(0, cut, true, false);
	const tail = await load(cut, L, false, true);
	const owners = clients.map(() => new Owner(blocksOf(init, {from: 0, to: cut}), spec, schedule));
	const server = new Owner(blocksOf(init, {from: cut, to: L}), spec, schedule);
	const losses: number[][] = [];
	for (let step = 0; step < steps; step++) {
		const own = batches[step % 4]!;
		const forwards = owners.map((owner, client) => head.forward(own[client]!.batch, owner.adapter));
		const {row, gradients} = (mode === 'parallel' ? parallelStep : sequentialStep)(
			tail,
			server,
			own,
			forwards.map(({activations}) => activations),
		);
		losses.push(row);
		for (const [client, owner] of owners.entries()) {
			const gradient = isWeighted ? scaled(gradients[client]!, weights[client]!) : gradients[client]!;
			owner.update(head.backward(forwards[client]!.saved, gradient).gradients[0]!);
		}
		if ((step + 1) % stepsPerRound === 0) {
			const mean = weightedMean(
				owners.map(owner => owner.tensors),
				weights,
			);
			for (const owner of owners) owner.set(mean);
		}
	}
	head.dispose();
	tail.dispose();
	return {
		losses,
		clients: owners[0]!.tensors,
		server: server.tensors,
		states: [...owners, server].map(({state}) => state),
	};
}

/** One batch of all clients and one update; each client gets the gradient of its own loss. */
function parallelStep(tail: SplitModel, server: Owner, own: PackedBatch[], activations: Float32Array[]) {
	const {batch, targets} = joined(own);
	const all = new Float32Array(activations.reduce((sum, {length}) => sum + length, 0));
	let offset = 0;
	for (const part of activations) {
		all.set(part, offset);
		offset += part.length;
	}
	const step = tail.trainStep({lengths: batch.lengths, activations: all}, targets, server.adapter, {
		wantsInputGradient: true,
	});
	server.update(step.gradients[0]!);
	let start = 0;
	const gradients = activations.map((part, client) => {
		const slice = step.inputGradient!.slice(start, start + part.length);
		start += part.length;
		return scaled(slice, 1 / weights[client]!);
	});
	return {row: meansOf(own, step.targetLosses), gradients};
}

/** One update a client, in order. */
function sequentialStep(tail: SplitModel, server: Owner, own: PackedBatch[], activations: Float32Array[]) {
	const row: number[] = [];
	const gradients = own.map(({batch, targets}, client) => {
		const input = {lengths: batch.lengths, activations: activations[client]!};
		const step = tail.trainStep(input, targets, server.adapter, {wantsInputGradient: true});
		server.update(step.gradients[0]!);
		row.push(weightedSum(step.targetLosses, targets.weights));
		return step.inputGradient!;
	});
	return {row, gradients};
}

const whole = await load(0, L, true, true);

const adamw: OptimizerSpec = {kind: 'adamw'};
const sgd: OptimizerSpec = {kind: 'sgd'};
const constant: Schedule = {kind: 'constant', lr: 1e-3};
const steep: Schedule = {kind: 'constant', lr: 0.5};
const parallel = {mode: 'parallel', isWeighted: false, cut: 2, spec: adamw, schedule: constant} as const;
const splits: Record<string, Setting> = {
	parallel_unweighted: parallel,
	parallel_weighted: {...parallel, isWeighted: true},
	sequential: {...parallel, mode: 'sequential'},
	parallel_unweighted_linear_lr: {...parallel, schedule: {kind: 'linear', lr: 1e-3, warmupSteps: 3, totalSteps: 12}},
	parallel_unweighted_cut1: {...parallel, cut: 1},
	parallel_unweighted_cut3: {...parallel, cut: 3},
	parallel_unweighted_sgd: {...parallel, spec: sgd, schedule: steep},
	parallel_weighted_sgd: {...parallel, isWeighted: true, spec: sgd, schedule: steep},
	sequential_sgd: {...parallel, mode: 'sequential', spec: sgd, schedule: steep},
};

const lossesDiffer = (ours: number[][], name: string) => differenceMax(ours.flat(), runs[name]!.f64.losses.flat());

for (const [name, setting] of Object.entries(splits)) {
	const tolerance = setting.mode === 'parallel' ? {loss: 1e-5, adapter: 2e-5} : {loss: 2e-4, adapter: 5e-4};
	test(`twelve split steps of three clients follow PyTorch: ${name}`, async t => {
		const golden = await goldenTensors(`train-split/${name}.f32.safetensors`);
		const outcome = await splitRun(setting);
		const loss = lossesDiffer(outcome.losses, name);
		t.true(loss < tolerance.loss, `losses differ by ${loss}`);
		const client = adapterDifference(outcome.clients, goldenAdapter(golden, 'agg3.global.'), differenceMax);
		t.true(client < tolerance.adapter, `client adapters differ by ${client}`);
		const ends = goldenAdapter(golden, golden.has('end.h.0.attn.q.lora_A') ? 'end.' : 'agg3.server.');
		const server = adapterDifference(outcome.server, blocksOf(ends, {from: setting.cut, to: L}), differenceMax);
		t.true(server < tolerance.adapter, `server adapters differ by ${server}`);
		const moments = golden.get('end.client1.opt.h.0.attn.v.lora_B.exp_avg_sq');
		if (!moments || setting.mode === 'sequential') return;
		const ours = outcome.states[1]!.moments['block.0.v.B.v']!.values;
		const scale = Math.max(...moments.values);
		t.true(differenceMax(ours, moments.values) < 1e-3 * scale, 'the second moment of client 1 differs');
	});
}

for (const [name, spec, schedule] of [
	['fedlora', adamw, constant],
	['fedlora_sgd', sgd, steep],
] as const) {
	test(`twelve steps of FedLoRA follow PyTorch: ${name}`, async t => {
		const golden = await goldenTensors(`train-split/${name}.f32.safetensors`);
		const owners = clients.map(() => new Owner(init, spec, schedule));
		const losses: number[][] = [];
		for (let step = 0; step < steps; step++) {
			const row = owners.map((owner, client) => {
				const {batch, targets} = batches[step % 4]![client]!;
				const {targetLosses, gradients} = whole.trainStep(batch, targets, owner.adapter);
				owner.update(gradients[0]!);
				return weightedSum(targetLosses, targets.weights);
			});
			losses.push(row);
			if ((step + 1) % stepsPerRound === 0) {
				const mean = weightedMean(
					owners.map(owner => owner.tensors),
					weights,
				);
				for (const owner of owners) owner.set(mean);
			}
		}
		t.true(lossesDiffer(losses, name) < 2e-4);
		t.true(adapterDifference(owners[0]!.tensors, goldenAdapter(golden, 'agg3.global.'), differenceMax) < 5e-4);
	});
}

for (const [name, spec, schedule] of [
	['cenlora', adamw, constant],
	['cenlora_sgd', sgd, steep],
] as const) {
	test(`twelve steps of CenLoRA follow PyTorch: ${name}`, async t => {
		const golden = await goldenTensors(`train-split/${name}.f32.safetensors`);
		const owner = new Owner(init, spec, schedule);
		const losses: number[][] = [];
		for (let step = 0; step < steps; step++) {
			const own = batches[step % 4]!;
			const {batch, targets} = joined(own);
			const {targetLosses, gradients} = whole.trainStep(batch, targets, owner.adapter);
			owner.update(gradients[0]!);
			losses.push(meansOf(own, targetLosses));
		}
		t.true(lossesDiffer(losses, name) < 1e-5);
		const end = goldenAdapter(golden, golden.has('end.h.0.attn.q.lora_A') ? 'end.' : 'step12.');
		t.true(adapterDifference(owner.tensors, end, differenceMax) < 2e-5);
	});
}
