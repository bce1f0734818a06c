/**
A whole training over the memory bus with made-up arithmetic, recorded into a folder; milliseconds a run.
*/
import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {checkScenario} from '../../protocols/check-scenario.ts';
import type {Bus, Clock, Compute} from '../../protocols/ports.ts';
import type {Scenario, ScenarioFile} from '../../protocols/scenario.ts';
import {createMemoryBroker} from '../../runtime/bus/memory.ts';
import type {PackedBatch} from '../../runtime/data/batches.ts';
import type {ActorHost} from '../../runtime/host/actor-host.ts';
import {type HostObserver, observers} from '../../runtime/host/observer.ts';
import {WallClock} from '../../runtime/live/clock.ts';
import type {ModelConfig} from '../../runtime/model/config.ts';
import {type ActorContext, openClient, openEvaluator, openFedServer, openMainServer} from '../../runtime/run/actors.ts';
import {clientIds} from '../../runtime/run/plan.ts';
import {hashOf, type RecorderOptions, TraceRecorder} from '../../runtime/trace/record.ts';
import {FakeCompute} from './fake-compute.ts';

const config: ModelConfig = {
	family: 'gpt2',
	blocks: 4,
	hidden: 4,
	heads: 2,
	kvHeads: 2,
	headDim: 2,
	ffn: 8,
	vocabulary: 32,
	context: 64,
	normEps: 1e-5,
	ropeTheta: 0,
	isHeadTied: true,
	hasQkvBias: true,
};

export type RecordedRunOptions = {
	/** The run folder; the trace goes into its `trace/`. */
	readonly folder: string;
	/** Differences from a run of 3 clients and 4 steps in rounds of 2. */
	readonly scenario?: Partial<ScenarioFile>;
	readonly compute?: Compute;
	readonly clock?: Clock;
	readonly recorder?: Partial<RecorderOptions>;
	readonly level?: 'digest' | 'full';
	/** Stands around the recorder's watch of each host. */
	readonly wrap?: (watch: HostObserver) => HostObserver;
	/** The bus is one that nobody else has. */
	readonly onStarted?: (hosts: readonly ActorHost[], bus: Bus) => void;
};

/** The scenario of a tiny run. */
export const tinyScenario = (scenario: Partial<ScenarioFile> = {}): Scenario =>
	checkScenario({
		name: 'tiny',
		model: 'tiny',
		cut: 2,
		clients: 3,
		data: {kind: 'restaurants'},
		training: {steps: 4, stepsPerRound: 2},
		timing: {heartbeatMs: 0, leaseMs: 0},
		...scenario,
	} as ScenarioFile);

const batchAt = (index: number): PackedBatch =>
	({
		ids: Int32Array.of(1, 2, 3, 4, 5 + (index % 8)),
		lengths: [3, 2],
		targetPositions: Int32Array.of(1, 3),
		labels: Int32Array.of(3, 5 + (index % 8)),
	}) as unknown as PackedBatch;

/** Runs to the end of every actor; resolves when the trace is closed. */
export async function recordRun(options: RecordedRunOptions): Promise<void> {
	const {
		folder,
		compute = new FakeCompute(),
		clock = new WallClock(),
		level = 'digest',
		wrap = watch => watch,
	} = options;
	const scenario = tinyScenario(options.scenario);
	const recorder = await TraceRecorder.open({
		folder: join(folder, 'trace'),
		header: {code: 'test', scenarioHash: hashOf(scenario), seed: scenario.seed, backend: 'fake', clock: 'wall', level},
		now: () => clock.now(),
		onNotice: () => undefined,
		...options.recorder,
	});
	const broker = createMemoryBroker();
	const model = {config, modelHash: 'model', vocabularyHash: 'vocabulary'};
	const ends: Promise<void>[] = [];
	const contextFor = (): ActorContext => {
		let end: () => void = () => undefined;
		ends.push(new Promise(resolve => (end = resolve)));
		const observer = observers({done: () => end()}, wrap(recorder.watch()));
		return {run: 'tiny', scenario, model, ports: {bus: broker.connect(), clock, compute}, observer};
	};
	const hosts = [await openFedServer(contextFor(), () => Promise.resolve())];
	if (scenario.mainServer) hosts.push(await openMainServer(contextFor()));
	if (scenario.evaluation.everyRounds > 0) hosts.push(await openEvaluator(contextFor(), [batchAt(0)]));
	for (const id of clientIds(scenario)) hosts.push(await openClient(contextFor(), id, {samples: 4, batchAt}));
	for (const host of hosts) await host.start();
	options.onStarted?.(hosts, broker.connect());
	await Promise.all(ends);
	// The last messages are still recorded by who hears them.
	await broker.idle();
	for (const host of hosts) host.stop();
	await recorder.close('done');
}

/** Calls `use` with a folder that is gone afterwards. */
export async function withFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
	const folder = await mkdtemp(join(tmpdir(), 'cutlayer-trace-'));
	try {
		return await use(folder);
	} finally {
		await rm(folder, {recursive: true, force: true});
	}
}
