/**
Whole runs of tiny models through the real actors, with rows given by hand: a world over the memory bus, or over connections given.
*/
import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {checkScenario} from '../../protocols/check-scenario.ts';
import type {Compute} from '../../protocols/ports.ts';
import type {Scenario, ScenarioFile} from '../../protocols/scenario.ts';
import {f32View, type NamedTensors} from '../../protocols/tensor.ts';
import {fromWireFormat} from '../../protocols/wire-formats.ts';
import {createMemoryBroker} from '../../runtime/bus/memory.ts';
import {LocalCompute} from '../../runtime/compute/local.ts';
import type {PackedBatch} from '../../runtime/data/batches.ts';
import type {AdapterTensors} from '../../runtime/model/lora.ts';
import {randomStream} from '../../runtime/random.ts';
import type {ClientData} from '../../runtime/run/actors.ts';
import {LiveRun, type LiveRunOptions, type RunResult, type World} from '../../runtime/run/live-run.ts';
import {type LocalParts, localActors} from '../../runtime/run/local-actor.ts';
import {clientIds, type RunModel, rolesOf} from '../../runtime/run/plan.ts';
import type {MetricsRow} from '../../runtime/run/recorder.ts';
import type {Backend} from '../../runtime/tensor/backend.ts';
import {openWeights} from '../../runtime/weights/load.ts';
import {goldenPath} from './golden.ts';

export type TinyModel = 'tiny-gpt2' | 'tiny-llama';

/** A run's parts: everything but the scenario. */
export type TinyParts = Partial<
	Pick<LocalParts, 'clients' | 'validation' | 'initial' | 'connect' | 'compute' | 'noiseKey'>
>;

export type TinyResult = RunResult & {readonly rows: readonly MetricsRow[]};

/** A tiny model, opened once; runs share its frozen weights and differ in their actors. */
export type TinyBench = {
	readonly model: RunModel;
	/** Arithmetic of its own for each run. */
	compute(): LocalCompute;
	world(scenario: Scenario, parts?: TinyParts): {world: World; close: () => Promise<void>};
	/** Runs in a folder that is gone afterwards. */
	run(scenario: Scenario, parts?: TinyParts): Promise<TinyResult>;
};

export async function tinyBench(backend: Backend, name: TinyModel): Promise<TinyBench> {
	const source = await openWeights(goldenPath(`${name}/model`));
	const model = {config: source.config, modelHash: source.modelHash, vocabularyHash: 'tiny'};
	const compute = () => new LocalCompute(backend, source);
	const world = (scenario: Scenario, parts: TinyParts = {}) => {
		const broker = createMemoryBroker();
		const connect = parts.connect ?? (() => Promise.resolve(broker.connect()));
		const own: Compute = parts.compute ?? compute();
		const local: LocalParts = {
			model,
			compute: own,
			connect,
			clients: parts.clients ?? randomClients(scenario, model.config.vocabulary),
			validation: parts.validation ?? [],
			initial: parts.initial,
			noiseKey: parts.noiseKey,
			isEndRepeated: true,
		};
		const opened = {roles: rolesOf(scenario), openActor: localActors(local), connect, rowsCut: () => 0};
		return {world: opened, close: () => own.close()};
	};
	const run = (scenario: Scenario, parts?: TinyParts) =>
		withRunFolder(async folder => {
			const {world: opened, close} = world(scenario, parts);
			try {
				return await runIn(opened, {scenario, folder});
			} finally {
				await close();
			}
		});
	return {model, compute, world, run};
}

type RunIn = Pick<LiveRunOptions, 'scenario' | 'folder'> &
	Partial<Omit<LiveRunOptions, 'scenario' | 'folder'>> & {readonly onLive?: (live: LiveRun) => void};

/** One run, or one part of it when it is interrupted, with its rows in the order they came. */
export async function runIn(world: World, {onLive, onRow, ...options}: RunIn): Promise<TinyResult> {
	const rows: MetricsRow[] = [];
	const live = new LiveRun(world, {
		run: 'tiny',
		isResumed: false,
		...options,
		onRow: row => {
			rows.push(row);
			onRow?.(row);
		},
	});
	onLive?.(live);
	const result = await live.run();
	return {...result, rows};
}

/** A checked scenario for tiny models: 3 clients, 4 steps in rounds of 2, dropout and schedule off, nothing timed. */
export const tinyScenario = (changes: Partial<ScenarioFile> = {}): Scenario =>
	checkScenario({
		name: 'tiny',
		model: 'tiny',
		cut: 2,
		clients: 3,
		data: {kind: 'restaurants', validationRows: 0},
		timing: {heartbeatMs: 0, leaseMs: 0},
		...changes,
		lora: {rank: 4, alpha: 16, targets: ['q', 'v'], dropout: 0, ...changes.lora},
		training: {steps: 4, stepsPerRound: 2, learningRate: 1e-3, schedule: {kind: 'constant'}, ...changes.training},
	} as ScenarioFile);

/** Rows of random tokens: client i has 10 (i + 1) samples. */
export function randomClients(scenario: Scenario, vocabulary: number): Record<string, ClientData> {
	return Object.fromEntries(
		clientIds(scenario).map((id, index) => [
			id,
			{samples: 10 * (index + 1), batchAt: batch => randomBatch(vocabulary, id, batch)},
		]),
	);
}

/** The `index`-th batch of `owner`: two or three rows of 3 to 8 tokens, with the loss on the second half of each. */
export function randomBatch(vocabulary: number, owner: string, index: number): PackedBatch {
	const stream = randomStream(7, owner, index);
	const lengths = Array.from({length: 2 + stream.integer(0, 1)}, () => 3 + stream.integer(0, 5));
	const ids = Int32Array.from({length: lengths.reduce((sum, length) => sum + length, 0)}, () =>
		stream.integer(0, vocabulary - 1),
	);
	const positions: number[] = [];
	let start = 0;
	for (const length of lengths) {
		for (let place = length >> 1; place < length - 1; place++) positions.push(start + place);
		start += length;
	}
	const labels = positions.map(position => ids[position + 1]!);
	return {ids, lengths, targetPositions: Int32Array.from(positions), labels: Int32Array.from(labels)};
}

/** Calls `use` with a folder that is gone afterwards. */
export async function withRunFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
	const folder = await mkdtemp(join(tmpdir(), 'cutlayer-run-'));
	try {
		return await use(folder);
	} finally {
		await rm(folder, {recursive: true, force: true});
	}
}

/** Losses as `[step][client]`, from the rows of a run; steps are counted over all rounds. */
export function lossesOf(rows: readonly MetricsRow[], {clients, training}: Scenario): number[][] {
	const losses: number[][] = [];
	for (const row of rows) {
		if (row.kind !== 'step') continue;
		const step = Number(row.round) * training.stepsPerRound + Number(row.step);
		losses[step] ??= Array<number>(clients).fill(Number.NaN);
		losses[step][Number(row.actor.slice(1))] = Number(row.loss);
	}
	return losses;
}

/** An adapter that crossed the bus, as plain arrays. */
export const plainAdapter = (tensors: NamedTensors): AdapterTensors =>
	Object.fromEntries(
		Object.entries(tensors).map(([name, tensor]) => {
			const [rows, columns] = tensor.shape as [number, number];
			return [name, {shape: [rows, columns], values: f32View(fromWireFormat(tensor))}];
		}),
	);

/** Both sides of a finished run as one adapter of the whole model. */
export const wholeAdapter = ({adapters}: RunResult): AdapterTensors => ({
	...plainAdapter(adapters!.client),
	...plainAdapter(adapters!.server),
});
