/**
The simulator: messages a second on one core, what a message costs as the fleet grows, what a client weighs, and what it adds to real
arithmetic. Time is the process' own on its processors, so that what else runs on the machine counts as little as it can.
*/
import type {Compute, PassRequest} from '../../protocols/ports.ts';
import type {PackedBatch} from '../../runtime/data/batches.ts';
import {openWeights} from '../../runtime/weights/load.ts';
import {gpt2Small} from '../_helpers/gpt2-small.ts';
import {MeanOfUploads} from '../_helpers/mean-of-uploads.ts';
import {medianOf} from '../_helpers/median.ts';
import {smollm2Path} from '../_helpers/shared.ts';
import {simConfig, simScenario, simulate} from '../_helpers/simulate.ts';
import type {Row} from './rows.ts';

const untraced = {level: 'off', code: 'bench', backend: 'bench'} as const;
const quiet = {timing: {heartbeatMs: 0, leaseMs: 0}, evaluation: {everyRounds: 0}} as const;

/** Processor time of this process so far, s. */
const spentSeconds = () => {
	const {user, system} = process.cpuUsage();
	return (user + system) / 1e6;
};

const atLeast = (name: string, value: number, unit: string, bar: number): Row => ({
	...{name, value, unit, bar},
	holds: value >= bar,
});
const atMost = (name: string, value: number, unit: string, bar: number): Row => ({
	...{name, value, unit, bar},
	holds: value <= bar,
});

/** A few batches that clients take in turn, so that making them is no part of what is measured. */
const batches: readonly PackedBatch[] = Array.from({length: 8}, (_, index) => batchOf(1 + (index % 3), 3 + index, 64));

function batchOf(rows: number, tokens: number, vocabulary: number): PackedBatch {
	const ids = Int32Array.from({length: rows * tokens}, (_, index) => (index * 7919) % vocabulary);
	const targetPositions = Int32Array.from(ids.keys()).filter(place => place % tokens < tokens - 1);
	const labels = targetPositions.map(place => ids[place + 1]!);
	return {ids, lengths: Array.from({length: rows}, () => tokens), targetPositions, labels};
}

const shortBatch = (owner: string, index: number) =>
	batches[(Number(owner.slice(1)) + index) % batches.length] ?? batches[0]!;

/** One run of `rounds` rounds of one step: processor time with the start, messages delivered, and the growth of resident memory. */
async function measure(clients: number, rounds: number) {
	const scenario = simScenario({
		...quiet,
		clients,
		fleet: {profile: 'lognormal-0.6'},
		training: {steps: rounds, stepsPerRound: 1},
		update: {kind: 'sequential'},
	});
	const residentBefore = process.memoryUsage.rss();
	const start = spentSeconds();
	const {figures, summary} = await simulate(scenario, {trace: untraced, batchOf: shortBatch});
	const seconds = spentSeconds() - start;
	if (summary.status !== 'done') throw new Error(`The run did not end well: ${summary.reason}`);
	const kilobytesEach = (process.memoryUsage.rss() - residentBefore) / clients / 1000;
	return {seconds, perSecond: figures.messages / seconds, kilobytesEach};
}

/** A fleet of 100, then one of 10,000 for 10 rounds. */
async function fleetRows(): Promise<Row[]> {
	await measure(100, 10);
	const small = await measure(100, 100);
	const large = await measure(10_000, 10);
	return [
		atLeast('simulated messages, 100 clients, shapes only', small.perSecond, '1/s', 20_000),
		{name: 'simulated messages, 10,000 clients', value: large.perSecond, unit: '1/s'},
		atMost('cost of a message, 10,000 clients over 100', small.perSecond / large.perSecond, 'x', 1.3),
		atMost('10,000 clients x 10 rounds, with their start', large.seconds, 's', 90),
		atMost('resident memory a client of 10,000', large.kilobytesEach, 'kB', 30),
	];
}

/** One round of FedAvg over uploads of real floats: GPT-2 small's first three blocks at rank 4. */
async function averageRow(): Promise<Row> {
	const clients = 1000;
	const config = {...gpt2Small, blocks: 3, vocabulary: simConfig.vocabulary};
	const training = {steps: 1, stepsPerRound: 1};
	const lora = {rank: 4, targets: ['q', 'v'] as ('q' | 'v')[]};
	const scenario = simScenario({...quiet, clients, cut: 3, mainServer: false, training, lora});
	let compute!: MeanOfUploads;
	const wrap = (inner: Compute) => {
		compute = new MeanOfUploads(inner, config);
		return compute;
	};
	const samplesOf = () => 10;
	const start = spentSeconds();
	await simulate(scenario, {trace: untraced, model: {config}, batchOf: shortBatch, samplesOf, wrap});
	const seconds = spentSeconds() - start;
	const isRight = compute.floats === 36_864 && Math.abs(compute.mean! - (clients - 1) / 2) < 1e-3;
	if (!isRight) throw new Error(`${compute.floats} floats with the mean ${compute.mean}`);
	return {name: 'one FedAvg round, 1,000 clients of 36,864 floats', value: clients / seconds, unit: 'client tasks/s'};
}

/** Notes the processor time of all that is behind the port. */
class TimedCompute implements Compute {
	readonly #inner: Compute;
	seconds = 0;

	constructor(inner: Compute) {
		this.#inner = inner;
	}

	run(request: PassRequest) {
		const start = spentSeconds();
		// Kernels block: what is asked for is computed before the call returns, a cohort with its last member.
		const running = this.#inner.run(request);
		this.seconds += spentSeconds() - start;
		return running;
	}

	close(): Promise<void> {
		return this.#inner.close();
	}
}

const roundsOfReal = 5;

/** SmolLM2's steps under `parallel`: processor time of each after the first, s, and the share of it outside the arithmetic. */
async function measureReal(clients: number, rows: number) {
	const source = await openWeights(smollm2Path!);
	const batch = batchOf(rows, 32, source.config.vocabulary);
	const training = {steps: roundsOfReal, stepsPerRound: 1};
	const scenario = simScenario({...quiet, clients, cut: 10, training, update: {kind: 'parallel'}});
	let compute!: TimedCompute;
	const marks: {readonly at: number; readonly computed: number}[] = [];
	await simulate(scenario, {
		arithmetic: 'real',
		model: source,
		trace: untraced,
		batchOf: () => batch,
		wrap: inner => {
			compute = new TimedCompute(inner);
			return compute;
		},
		onRow: ({kind}) => kind === 'round' && marks.push({at: spentSeconds(), computed: compute.seconds}),
	});
	const steps = marks.slice(1).map(({at}, index) => at - marks[index]!.at);
	const [first, last] = [marks[0]!, marks.at(-1)!];
	const outside = 1 - (last.computed - first.computed) / (last.at - first.at);
	return {seconds: medianOf(steps), outside};
}

async function realRows(): Promise<Row[]> {
	const whole = await measureReal(1, 32);
	const fleet = await measureReal(16, 2);
	return [
		{name: 'smollm2-135m: a step of one client, 32 rows of 32', value: whole.seconds, unit: 's'},
		{name: 'smollm2-135m: a step of 16 clients, 2 rows each', value: fleet.seconds, unit: 's'},
		atMost('smollm2-135m: 16 clients over one', fleet.seconds / whole.seconds, 'x', 1.15),
		atMost('smollm2-135m: outside the arithmetic', 100 * fleet.outside, '%', 3),
	];
}

export const run = async (): Promise<Row[]> => [
	...(await fleetRows()),
	await averageRow(),
	...(smollm2Path ? await realRows() : []),
];
