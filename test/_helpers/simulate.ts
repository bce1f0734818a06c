/**
A whole training in virtual time with shapes-only or real arithmetic on a tiny model; what it wrote and in which order. Every
one is replayed, and every invariant of its trace checked.
*/
import {mkdtemp, readFile, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {attachedOf} from '../../protocols/attach-events.ts';
import {checkScenario} from '../../protocols/check-scenario.ts';
import type {Bus, Compute} from '../../protocols/ports.ts';
import type {Scenario, ScenarioFile} from '../../protocols/scenario.ts';
import {LocalCompute} from '../../runtime/compute/local.ts';
import {ShapesCompute} from '../../runtime/compute/shapes.ts';
import type {PackedBatch} from '../../runtime/data/batches.ts';
import type {ModelConfig, WeightSource} from '../../runtime/model/config.ts';
import {randomStream} from '../../runtime/random.ts';
import {replayTrace} from '../../runtime/replay/replay.ts';
import {LiveRun, type RunResult} from '../../runtime/run/live-run.ts';
import {clientIds} from '../../runtime/run/plan.ts';
import type {MetricsRow} from '../../runtime/run/recorder.ts';
import {type SimulatedChange, type SimulationFigures, simulatedWorld} from '../../runtime/run/simulated.ts';
import type {TraceOptions} from '../../runtime/run/tracing.ts';
import {checkTrace} from '../../runtime/trace/invariants.ts';
import {openWeights} from '../../runtime/weights/load.ts';
import {nativeBackend} from './backend.ts';
import {goldenPath} from './golden.ts';
import {withTrace} from './traces.ts';

export const simConfig: ModelConfig = {
	family: 'gpt2',
	blocks: 4,
	hidden: 16,
	heads: 2,
	kvHeads: 2,
	headDim: 8,
	ffn: 32,
	vocabulary: 64,
	context: 64,
	normEps: 1e-5,
	ropeTheta: 0,
	isHeadTied: true,
	hasQkvBias: true,
};

/** A small run of 3 clients and 4 steps in rounds of 2 with differences. */
export const simScenario = (scenario: Partial<ScenarioFile> = {}): Scenario =>
	checkScenario({
		name: 'sim',
		model: 'tiny',
		cut: 2,
		clients: 3,
		data: {kind: 'restaurants'},
		...scenario,
		training: {steps: 4, stepsPerRound: 2, learningRate: 1e-2, ...scenario.training},
	});

export type Simulated = RunResult & {
	readonly scenario: Scenario;
	readonly rows: readonly MetricsRow[];
	/** `metrics.jsonl` as written. */
	readonly metrics: string;
	readonly figures: SimulationFigures;
};

/** Batches of 1 to 3 rows of 2 to 9 tokens of a vocabulary of 64, from keyed streams. */
export function batchAt(owner: string, index: number): PackedBatch {
	const random = randomStream('sim', owner, index);
	const lengths = Array.from({length: random.integer(1, 3)}, () => random.integer(2, 9));
	const tokens = lengths.reduce((sum, length) => sum + length, 0);
	const ids = Int32Array.from({length: tokens}, () => random.integer(0, 63));
	const positions: number[] = [];
	let start = 0;
	for (const length of lengths) {
		for (let place = start; place < start + length - 1; place++) positions.push(place);
		start += length;
	}
	const targetPositions = Int32Array.from(positions);
	return {ids, lengths, targetPositions, labels: targetPositions.map(place => ids[place + 1]!)};
}

/** Real arithmetic on the tiny GPT-2 of the goldens, or shapes only. */
export type SimulateOptions = {
	readonly arithmetic?: 'real' | 'shapes';
	/** The model: random weights are of no account to shapes; default that of `simConfig`, or a tiny GPT-2 for real arithmetic. */
	readonly model?: {readonly config: ModelConfig} | WeightSource;
	/** A client's batches; default some of a few short rows. */
	readonly batchOf?: (owner: string, index: number) => PackedBatch;
	/** Stands before the arithmetic. */
	readonly wrap?: (compute: Compute) => Compute;
	readonly trace?: TraceOptions;
	readonly whatIf?: SimulatedChange;
	/** Default virtual. */
	readonly clock?: 'virtual' | 'wall';
	/** Told of every row as it comes. */
	readonly onRow?: (row: MetricsRow) => void;
	/** Reads the run folder before it is gone. */
	readonly read?: (folder: string) => Promise<void>;
	/** |D_i| of a client; default 10 times its place and 10. */
	readonly samplesOf?: (index: number) => number;
	readonly notices?: string[];
	/** Gets the run before it begins. */
	readonly onLive?: (run: LiveRun) => void;
	/** A real bus that the frames cross; with it a name of its own for the run on it. */
	readonly connectReal?: (name: string) => Promise<Bus>;
	readonly run?: string;
};

const traced: TraceOptions = {level: 'digest', code: 'test', backend: 'test'};

/** Throws when a replay of the trace in a run folder parts from it, or an invariant does not hold. */
async function checkFolder(folder: string, scenario: Scenario): Promise<void> {
	await withTrace(folder, async trace => {
		const {divergence} = await replayTrace(trace);
		const {violations} = await checkTrace(trace);
		const problems = [...(divergence ? [divergence.what] : []), ...violations.map(({text}) => text)];
		if (problems.length > 0) throw new Error(`${problems.join('\n')}\nin ${JSON.stringify(scenario)}`);
	});
}

export async function simulate(scenario: Scenario, options: SimulateOptions = {}): Promise<Simulated> {
	const folder = await mkdtemp(join(tmpdir(), 'cutlayer-sim-'));
	const {arithmetic = 'shapes', wrap = compute => compute, samplesOf = index => 10 + 10 * index} = options;
	const {batchOf = batchAt} = options;
	const tiny = () => openWeights(goldenPath('tiny-gpt2/model'));
	const source = arithmetic === 'real' ? ((options.model as WeightSource | undefined) ?? (await tiny())) : undefined;
	const config = options.model?.config ?? source?.config ?? simConfig;
	const compute = wrap(source ? new LocalCompute(await nativeBackend(), source) : new ShapesCompute(config));
	try {
		const clients = Object.fromEntries(
			[...clientIds(scenario), ...attachedOf(scenario, 'client').map(({id}) => id)].map((id, index) => [
				id,
				{samples: samplesOf(index), batchAt: (batch: number) => batchOf(id, batch)},
			]),
		);
		const model = {config, modelHash: 'model', vocabularyHash: 'vocabulary'};
		const validation = [batchOf('validation', 0)];
		const world = simulatedWorld({
			scenario,
			model,
			compute,
			clients,
			validation,
			rowsCut: () => 0,
			whatIf: options.whatIf,
			clock: options.clock,
			connectReal: options.connectReal,
		});
		const rows: MetricsRow[] = [];
		const run = new LiveRun(world, {
			scenario,
			run: options.run ?? 'sim',
			folder,
			isResumed: false,
			onRow: row => {
				rows.push(row);
				options.onRow?.(row);
			},
			onNotice: text => options.notices?.push(text),
			trace: options.trace ?? traced,
		});
		options.onLive?.(run);
		const result = await run.run();
		if (options.trace?.level !== 'off') await checkFolder(folder, scenario);
		await options.read?.(folder);
		const metrics = await readFile(join(folder, 'metrics.jsonl'), 'utf8');
		return {...result, scenario, rows, metrics, figures: world.figures()};
	} finally {
		await compute.close();
		await source?.close();
		await rm(folder, {recursive: true, force: true});
	}
}
