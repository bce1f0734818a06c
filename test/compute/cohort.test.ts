import test from 'ava';
import fc from 'fast-check';
import type {PassRequest, PassResult} from '../../protocols/ports.ts';
import {f32View, type NamedTensors, tensorOf} from '../../protocols/tensor.ts';
import {LocalCompute} from '../../runtime/compute/local.ts';
import {prefixed} from '../../runtime/compute/names.ts';
import type {ActorSpec} from '../../runtime/compute/spec.ts';
import type {ModelConfig} from '../../runtime/model/config.ts';
import {initAdapter, toNamedTensors} from '../../runtime/model/lora.ts';
import {randomStream} from '../../runtime/random.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {relativeMax} from '../_helpers/golden.ts';
import {randomSource} from '../_helpers/random-model.ts';
import {gpt2, llama} from '../_helpers/small-configs.ts';

const backend = await nativeBackend();

type Client = {readonly id: string; readonly rank: number; readonly lengths: readonly number[]; readonly turn: number};

const clients = fc
	.array(
		fc.record({
			rank: fc.integer({min: 1, max: 3}),
			lengths: fc.array(fc.integer({min: 2, max: 7}), {minLength: 1, maxLength: 3}),
			/** When its gradient comes: those of one turn come together. */
			turn: fc.integer({min: 0, max: 1}),
		}),
		{minLength: 2, maxLength: 4},
	)
	.map(drawn => drawn.map((one, index): Client => ({...one, id: `c${index}`})));

const specOf = ({rank}: Client, to: number, hasHead: boolean, dropout: number): ActorSpec => ({
	kind: 'client',
	part: {from: 0, to, hasEmbedding: true, hasHead},
	lora: {rank, alpha: 2 * rank, targets: ['q', 'v', 'up'], dropout, isRankStabilised: false},
	seed: 5,
	optimizer: {kind: 'sgd'},
	schedule: {kind: 'constant', lr: 0.5},
	clipNorm: 0,
	labelSmoothing: 0,
	wire: 'f32',
	wireAdapter: 'f32',
	optimizerAtRound: 'keep',
});

const i32 = (values: Int32Array) => tensorOf(values, [values.length]);

function batchOf({id, lengths}: Client): NamedTensors {
	const random = randomStream(1, id, 'batch');
	const tokens = lengths.reduce((sum, length) => sum + length, 0);
	const ids = Int32Array.from({length: tokens}, () => random.integer(0, 30));
	const places = Int32Array.from({length: tokens}, (_, place) => place).filter(place => place % 2 === 0);
	return {ids: i32(ids), targetPositions: i32(places), labels: i32(places.map(() => random.integer(0, 30)))};
}

/** B is not zero, as it is at first, so that A has gradients too. */
function adapterOf(config: ModelConfig, {id, rank}: Client, to: number): NamedTensors {
	const tensors = initAdapter(config, {rank, targets: ['q', 'v', 'up']}, {from: 0, to}, 5);
	const random = randomStream(2, id, 'adapter');
	for (const {values} of Object.values(tensors)) values.set(values.map(() => (random.float() - 0.5) / 3));
	return toNamedTensors(tensors);
}

type Run = (request: PassRequest) => Promise<PassResult>;

/** The passes as they are asked for together: as one cohort, or each alone. */
const asked = (run: Run, requests: readonly PassRequest[], cohort: number | undefined) =>
	Promise.all(
		requests.map(request =>
			run(cohort === undefined ? request : {...request, cohort: {id: cohort, size: requests.length}}),
		),
	);

type Setting = {readonly config: ModelConfig; readonly drawn: readonly Client[]; readonly dropout: number};

async function computed({config, drawn, dropout}: Setting, isWhole: boolean, isCohort: boolean) {
	const compute = new LocalCompute(backend, randomSource(config, 3));
	const run: Run = request => compute.run(request);
	const to = isWhole ? 3 : 2;
	const step = {round: 0, step: 0, isApplied: true, optimizerStep: 0};
	try {
		for (const client of drawn) {
			const initial = prefixed('initial', adapterOf(config, client, to));
			await run({actor: client.id, pass: 'open', input: specOf(client, to, isWhole, dropout), tensors: initial});
		}
		const loaded = backend.kernels.liveTensors();
		const passOf = (pass: string) => (client: Client) => ({
			actor: client.id,
			pass,
			input: {...step, lengths: client.lengths},
			tensors: prefixed('batch', batchOf(client)),
		});
		const first = await asked(run, drawn.map(passOf(isWhole ? 'localStep' : 'forward')), isCohort ? 0 : undefined);
		const results = [...first];
		if (!isWhole) {
			for (const turn of [0, 1]) {
				const own = drawn.filter(client => client.turn === turn).toReversed();
				const requests = own.map(client => {
					const random = randomStream(3, client.id, 'gradient');
					const {shape} = first[drawn.indexOf(client)]!.tensors.activations!;
					const values = Float32Array.from({length: shape[0]! * shape[1]!}, () => random.float() - 0.5);
					const tensors = {'gradient.gradient': tensorOf(values, shape)};
					return {actor: client.id, pass: 'backward', input: step, tensors};
				});
				results.push(...(await asked(run, requests, isCohort ? 1 + turn : undefined)));
			}
		}
		const leaked = backend.kernels.liveTensors() - loaded;
		for (const {id} of drawn) results.push(await run({actor: id, pass: 'readAdapter', input: {}, tensors: {}}));
		return {results, leaked};
	} finally {
		await compute.close();
	}
}

/** The largest difference relative to each tensor's or number's magnitude. */
function differenceOf(ours: readonly PassResult[], theirs: readonly PassResult[]): number {
	let worst = 0;
	for (const [index, {output, tensors}] of ours.entries()) {
		for (const [name, tensor] of Object.entries(tensors)) {
			if (tensor.dtype === 'f32')
				worst = Math.max(worst, relativeMax(f32View(tensor), f32View(theirs[index]!.tensors[name]!)));
		}
		for (const [name, value] of Object.entries(output as object)) {
			const other = (theirs[index]!.output as Record<string, unknown>)[name] as number;
			if (typeof value === 'number') worst = Math.max(worst, Math.abs(value - other) / Math.max(Math.abs(other), 1e-6));
		}
	}
	return worst;
}

for (const config of [gpt2, llama]) {
	for (const isWhole of [false, true]) {
		const what = isWhole ? 'local steps' : 'forward and backward passes, whenever gradients come';
		test.serial(`a cohort's ${what} equal those one by one: ${config.family}`, async t => {
			let worst = 0;
			await fc.assert(
				fc.asyncProperty(clients, fc.constantFrom(0, 0.2), async (drawn, dropout) => {
					const setting = {config, drawn, dropout};
					const [alone, together] = [await computed(setting, isWhole, false), await computed(setting, isWhole, true)];
					const difference = differenceOf(together.results, alone.results);
					worst = Math.max(worst, difference);
					return difference < (isWhole ? 2e-5 : 1e-5) && alone.leaked === 0 && together.leaked === 0;
				}),
				{numRuns: process.env.CUTLAYER_TESTS === 'long' ? 100 : 8},
			);
			t.log(`largest relative difference ${worst}`);
			t.pass();
		});
	}
}

test.serial('in a cohort the mistake of one costs that one alone', async t => {
	const compute = new LocalCompute(backend, randomSource(gpt2, 3));
	const pair: Client[] = ['c0', 'c1'].map(id => ({id, rank: 2, lengths: [3], turn: 0}));
	for (const client of pair)
		await compute.run({actor: client.id, pass: 'open', input: specOf(client, 2, false, 0), tensors: {}});
	const requests = pair.map(client => ({
		actor: client.id,
		pass: 'forward',
		input: {round: 0, step: 0, lengths: client.id === 'c0' ? [4] : [3]},
		tensors: prefixed('batch', batchOf(client)),
		cohort: {id: 0, size: 2},
	}));
	const [first, second] = await Promise.allSettled(requests.map(request => compute.run(request)));
	t.is(first?.status, 'rejected');
	t.is(second?.status, 'fulfilled');
	await compute.close();
});
