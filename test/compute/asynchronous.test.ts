/**
FedAsync and FedBuff from uploads to global adapters: the fed server's machine counts the staleness, the policy weighs, the
arithmetic mixes. The sequences are worked out by hand, the others are those of an independent implementation.
*/
import test from 'ava';
import {fedServerMachine} from '../../actors/fed-server.ts';
import {aggregatePass} from '../../actors/fed-server-plans.ts';
import {planAggregation} from '../../actors/policies/aggregation.ts';
import type {AggregationPlan} from '../../protocols/aggregation.ts';
import type {Aggregation, StalenessFunction} from '../../protocols/policies.ts';
import {f32View, type NamedTensors, tensorOf} from '../../protocols/tensor.ts';
import {FedServerCompute} from '../../runtime/compute/fed-server.ts';
import {prefixed} from '../../runtime/compute/names.ts';
import {type Golden, goldenTensors} from '../_helpers/golden.ts';
import {agreement, from, handle, Stepper} from '../_helpers/machine.ts';
import {simConfig} from '../_helpers/simulate.ts';

const golden = await goldenTensors('aggregation/aggregation.f32.safetensors');

const name = 'block.0.q.A';
const adapterOf = ({values, shape}: Golden): NamedTensors => ({[name]: tensorOf(values.slice(), shape)});
const scalar = (value: number) => adapterOf({values: Float32Array.of(value), shape: [1, 1]});

const computeFrom = (initial: NamedTensors) =>
	new FedServerCompute(
		{
			kind: 'fed-server',
			part: {from: 0, to: 1, hasEmbedding: true, hasHead: false},
			lora: {rank: 1, alpha: 1, targets: ['q'], dropout: 0, isRankStabilised: false},
			seed: 1,
			wireAdapter: 'f32',
		},
		simConfig,
		initial,
	);
const valuesIn = (tensors: NamedTensors) => [...f32View(tensors[name]!)];

/** A fed server and its arithmetic over clients that have one weight: `take` is an upload, its answer the global weight after it. */
class Server {
	readonly #compute: FedServerCompute;
	readonly #machine: Stepper;
	/** What a handle stands for. */
	readonly #weights = new Map<string, number>();
	readonly #rounds = new Map<string, number>();
	global: number;
	/** As reported, an entry an aggregation. */
	readonly staleness: string[] = [];

	constructor(aggregation: Aggregation, clients: readonly string[], first: number) {
		this.#compute = computeFrom(scalar(first));
		this.global = first;
		this.#weights.set('version 0', first);
		const hello = (client: string, index: number) =>
			from(client, 'client', 'hello', {incarnation: 0, samples: 10 + 90 * index, agreement});
		this.#machine = new Stepper(fedServerMachine, {
			serverId: 'fed',
			incarnation: 0,
			agreement,
			clientsExpected: clients.length,
			hasMainServer: false,
			stepsPerRound: 1,
			stepsTotal: 100,
			aggregationsTotal: 100,
			watchers: [],
			selection: {kind: 'all'},
			closing: {kind: 'all'},
			aggregation,
			leaseMs: 0,
			checkpointEveryRounds: 0,
		}).take({type: 'readAdapter.done', tensors: handle('version 0')}, ...clients.map(hello));
	}

	/** Uploads `weight` of a client, and carries out the aggregation that it may fill. */
	take(client: string, weight: number): number {
		const round = this.#rounds.get(client) ?? 0;
		this.#rounds.set(client, round + 1);
		const name = `${client} ${round}`;
		this.#weights.set(name, weight);
		const body = {incarnation: 0, round, adapterVersion: 0, stepsDone: 1, samples: 10, lossMean: 1, lossSquareMean: 1};
		this.#machine.take(from(client, 'client', 'upload', {...body, tensors: handle(name)}));
		if (/aggregating/.test(this.#machine.state)) this.#aggregate();
		return this.global;
	}

	#aggregate(): void {
		const {plan, tensors} = aggregatePass(this.#machine.context) as unknown as {
			plan: AggregationPlan;
			tensors: Handles;
		};
		const groups = Object.entries(tensors).map(([group, one]) =>
			prefixed(group, scalar(this.#weights.get(one.handle)!)),
		);
		const result = this.#compute.aggregate({plan}, Object.assign({}, ...groups));
		[this.global] = valuesIn(result.tensors) as [number];
		const version = `version ${this.staleness.length + 1}`;
		this.#weights.set(version, this.global);
		this.#machine.take({type: 'aggregate.done', tensors: handle(version)});
		const report = this.#machine.sent.find(({verb}) => verb === 'report')!.body as {row: {adapterStaleness: string}};
		this.staleness.push(report.row.adapterStaleness);
	}
}

type Handles = Readonly<Record<string, {readonly handle: string}>>;

const isClose = (found: readonly number[], expected: readonly number[], tolerance = 1e-6) =>
	found.length === expected.length &&
	found.every(
		(value, index) => Math.abs(value - expected[index]!) <= tolerance * Math.max(1, Math.abs(expected[index]!)),
	);

const uploads = [
	['fast', 3],
	['fast', 2],
	['slow', 5],
	['fast', 4],
	['slow', 6],
] as const;

/** With mixing 0.6 from w = 1. Every upload is an aggregation: the slow client's first is 2 versions old, what follows 1. */
const sequences: [staleness: StalenessFunction, shares: string, expected: number[]][] = [
	// 0.4 x 1 + 0.6 x 3 = 2.2; 0.4 x 2.2 + 0.6 x 2 = 2.08; 0.4 x 2.08 + 0.6 x 5; 0.4 x 3.832 + 0.6 x 4; 0.4 x 3.9328 + 0.6 x 6
	[{kind: 'constant'}, '0.6 throughout', [2.2, 2.08, 3.832, 3.9328, 5.17312]],
	// 2.08 + 0.2 (5 - 2.08) = 2.664; 2.664 + 0.3 (4 - 2.664) = 3.0648; 3.0648 + 0.3 (6 - 3.0648)
	[{kind: 'polynomial', a: 1}, '0.6 / (tau + 1): 0.6, 0.6, 0.2, 0.3, 0.3', [2.2, 2.08, 2.664, 3.0648, 3.94536]],
	// 2.08 + 0.2 (5 - 2.08) = 2.664; 0.4 x 2.664 + 0.6 x 4 = 3.4656; 0.4 x 3.4656 + 0.6 x 6
	[{kind: 'hinge', a: 2, b: 1}, '0.6 / 3 where tau is 2, else 0.6', [2.2, 2.08, 2.664, 3.4656, 4.98624]],
];
for (const [staleness, shares, expected] of sequences) {
	test(`FedAsync mixes each upload in as it comes, ${staleness.kind}: ${shares}`, t => {
		const server = new Server({kind: 'fedasync', mixing: 0.6, staleness}, ['fast', 'slow'], 1);
		const found = uploads.map(([client, weight]) => server.take(client, weight));
		t.deepEqual(server.staleness, ['0', '0', '2', '1', '1']);
		t.true(isClose(found, expected), `${found}`);
	});
}

test('FedBuff adds the mean of three changes over the root of their staleness, each against what its client began from', t => {
	const server = new Server({kind: 'fedbuff', count: 3, learningRate: 0.5}, ['a', 'b', 'c'], 1);
	// Changes 3, 1 and -1 of version 0: 1 + 0.5 / 3 x 3.
	t.deepEqual([server.take('a', 4), server.take('a', 2)], [1, 1]);
	t.is(server.take('b', 0), 1.5);
	// Changes 4 and 2 of version 0, a version old, and 3 of version 1: 1.5 + 0.5 / 3 x ((4 + 2) / sqrt 2 + 3).
	t.deepEqual([server.take('a', 5), server.take('c', 3)], [1.5, 1.5]);
	t.true(isClose([server.take('b', 4.5)], [2.707106781]), `${server.global}`);
	t.deepEqual(server.staleness, ['0 0 0', '1 1 0']);
});

const described = (staleness: number, client = 'c') => ({client, round: 0, samples: 7, stepsDone: 1, staleness});

for (const [word, staleness] of [
	['constant', {kind: 'constant'}],
	['hinge', {kind: 'hinge', a: 10, b: 4}],
	['poly', {kind: 'polynomial', a: 0.5}],
] as const) {
	test(`FedAsync over seven uploads equals the golden after each, ${staleness.kind}`, t => {
		const compute = computeFrom(adapterOf(golden.get('fedasync.x0')!));
		for (const [index, tau] of [0, 1, 2, 4, 5, 8, 16].entries()) {
			const plan = planAggregation({kind: 'fedasync', mixing: 0.6, staleness}, [described(tau)]);
			const upload = adapterOf(golden.get(`fedasync.update.${index}`)!);
			const {tensors} = compute.aggregate({plan}, prefixed('0', upload));
			t.true(isClose(valuesIn(tensors), [...golden.get(`fedasync.out.${word}.${index}`)!.values]), `after ${index}`);
		}
	});
}

test('FedBuff over six uploads equals the golden after both aggregations', t => {
	const compute = computeFrom(adapterOf(golden.get('fedbuff.x0')!));
	const base = golden.get('fedasync.x0')!;
	const plus = ({values, shape}: Golden) => ({
		values: values.map((value, place) => value + base.values[place]!),
		shape,
	});
	const all = [0, 2, 1, 3, 0, 5];
	for (const start of [0, 3]) {
		const staleness = all.slice(start, start + 3);
		const plan = planAggregation(
			{kind: 'fedbuff', count: 3, learningRate: 1},
			staleness.map((tau, index) => described(tau, `c${index}`)),
		);
		const groups = staleness.flatMap((_, index) => [
			prefixed(`${index}`, adapterOf(plus(golden.get(`fedbuff.delta.${start + index}`)!))),
			prefixed(`base${index}`, adapterOf(base)),
		]);
		const {tensors} = compute.aggregate({plan}, Object.assign({}, ...groups));
		t.true(isClose(valuesIn(tensors), [...golden.get(`fedbuff.out.${start / 3}`)!.values]), `from ${start}`);
	}
});
