/**
Opens what a run needs of this machine: backend, model, data, broker. What it opened it closes, in every case.
*/
import {CutlayerError} from '../../protocols/errors.ts';
import type {Bus} from '../../protocols/ports.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import type {NamedTensors} from '../../protocols/tensor.ts';
import type {Change} from '../../protocols/what-if.ts';
import {startBroker} from '../bus/broker.ts';
import type {BrokerCredentials} from '../bus/credentials.ts';
import {createMemoryBroker} from '../bus/memory.ts';
import {connectNats} from '../bus/nats.ts';
import {dropRunStreams, openRunStreams} from '../bus/run-streams.ts';
import {openTraceStream} from '../bus/trace-stream.ts';
import {type Opened, ThreadCompute} from '../compute/thread.ts';
import {openTokenizer, type Tokenizer} from '../data/tokenizer.ts';
import type {ModelConfig} from '../model/config.ts';
import {findBroker} from '../setup/find-broker.ts';
import {ensureModel} from '../setup/model.ts';
import type {OnProgress} from '../setup/progress.ts';
import {type BackendKind, type ResolvedBackend, resolveBackend} from '../setup/resolve.ts';
import {openWeights} from '../weights/load.ts';
import {openRunData, type RunData} from './data.ts';
import {loadInitial} from './initial.ts';
import type {World} from './live-run.ts';
import {localActors} from './local-actor.ts';
import {freshNoiseKey} from './noise-key.ts';
import {ownReports} from './own-reports.ts';
import {checkAgainstModel, type RunModel, rolesOf} from './plan.ts';
import {besidePrediction, predict} from './prediction.ts';
import {openProcesses} from './processes.ts';
import type {MetricsRow} from './recorder.ts';
import type {ActorRole} from './running-actor.ts';
import {type SimulatedChange, type SimulatedWorld, type SimulationParts, simulatedWorld} from './simulated.ts';

export type WorldOptions = {
	readonly scenario: Scenario;
	readonly bus: 'nats' | 'memory';
	/** Simulated devices and links, in virtual time or by the wall clock; default neither: this machine as it is. */
	readonly clock?: 'wall' | 'virtual' | undefined;
	/** A broker to use; without one an embedded `nats-server` is started. */
	readonly natsUrl?: string | undefined;
	/** For that broker. */
	readonly creds?: BrokerCredentials | undefined;
	readonly backend?: BackendKind | undefined;
	/** A process for each actor; default all in this one. */
	readonly processes?: boolean | undefined;
	/** The run whose trace the broker is to keep. */
	readonly traceStreamOf?: string | undefined;
	/** Its training actors survive their processes; the run, and the length of a server's lease, ms. */
	readonly durable?: {readonly run: string; readonly leaseMs: number} | undefined;
	/** Only these actors, of a run whose others are elsewhere; default all. */
	readonly part?: WorldPart | undefined;
	/** In virtual time: from a record on the run goes otherwise. */
	readonly whatIf?: SimulatedChange | undefined;
	/** In virtual time: when the run goes on, ms; default 0. */
	readonly startMs?: number | undefined;
	readonly onNotice: (text: string) => void;
	readonly onProgress: OnProgress;
};

/** A part of a run. */
export type WorldPart = {
	readonly roles: readonly ActorRole[];
	/** Rows of its own in place of the scenario's. */
	readonly openData?: ((tokenizer: Tokenizer) => Promise<RunData>) | undefined;
	/** Called before much is loaded; may throw. */
	readonly onModel?: ((model: RunModel) => void) | undefined;
};

/** For `config.json` and the first lines a user sees. */
export type WorldFacts = {
	readonly backend: string;
	readonly backendReason: string;
	readonly model: string;
	readonly modelPath: string;
	readonly modelHash: string;
	readonly broker: string;
	/** What the scenario's devices and links say the run will take, where the wall clock imposes them. */
	readonly predictedSeconds?: number;
};

export type OpenWorld = {
	readonly world: World;
	readonly config: ModelConfig;
	readonly model: RunModel;
	/** The broker's address where other processes can reach it; it may hold a password. */
	readonly natsUrl: string | undefined;
	readonly facts: WorldFacts;
	/** What a what-if asked of messages that never came. */
	readonly unmet: () => readonly Change[];
	/** A connection of its own to the broker. */
	readonly connect: (name: string) => Promise<Bus>;
	close(): Promise<void>;
};

type Closer = () => Promise<unknown>;

/** Throws the error of whatever cannot be opened; nothing stays open then. */
export async function openWorld(options: WorldOptions): Promise<OpenWorld> {
	const closers: Closer[] = [];
	const close = async () => {
		for (const closer of closers.splice(0).reverse()) await closer();
	};
	try {
		const {scenario, onProgress} = options;
		const files = await ensureModel(scenario.model, onProgress);
		const weights = await openWeights(files.path);
		closers.push(() => weights.close());
		checkAgainstModel(scenario, weights.config);
		const tokenizer = await openTokenizer(files.path);
		const {config, modelHash} = weights;
		const model = {config, modelHash, vocabularyHash: tokenizer.vocabularyHash};
		options.part?.onModel?.(model);
		// With processes each opens its own rows.
		const data = await (options.part?.openData?.(tokenizer) ??
			openRunData(scenario, tokenizer, options.processes ? [] : options.part?.roles));
		const initial = await loadInitial(scenario, weights.config);
		const broker = await openBroker(options, closers);
		if (options.traceStreamOf !== undefined) await keepTrace(options.traceStreamOf, broker, options.creds);
		if (options.durable && !options.part) await keepRun(options.durable.run, broker, options, closers);
		const resolved = resolveBackend(options.backend);
		const {world, opened, predictedSeconds} = options.processes
			? await openInProcesses(options, {resolved, model, modelPath: files.path, broker}, closers)
			: await openHere(options, {resolved, model, modelPath: files.path, broker, data, initial}, closers);
		return {
			world,
			config,
			model,
			natsUrl: broker.url,
			connect: broker.connect,
			facts: {
				backend: `${opened.backend}${opened.isGpu ? ' on a GPU' : ''}`,
				backendReason: resolved.reason,
				model: `${scenario.model} (${files.from})`,
				modelPath: files.path,
				modelHash,
				broker: broker.text,
				...(predictedSeconds !== undefined && {predictedSeconds}),
			},
			unmet: () => ('unmet' in world ? world.unmet() : []),
			close,
		};
	} catch (error) {
		await close();
		throw error;
	}
}

type Parts = {
	readonly resolved: ResolvedBackend;
	readonly model: RunModel;
	readonly modelPath: string;
	readonly broker: Connect;
};
type Opening = {
	readonly world: World | SimulatedWorld;
	readonly opened: Opened;
	readonly predictedSeconds?: number;
};

async function openHere(
	{scenario, clock, whatIf, startMs, part}: WorldOptions,
	{resolved, model, modelPath, broker, data, initial}: Parts & {data: RunData; initial: NamedTensors | undefined},
	closers: Closer[],
): Promise<Opening> {
	// The library reads these when it loads, in whatever thread that is.
	for (const [name, value] of Object.entries(resolved.environment)) process.env[name] ??= value;
	const {compute, opened} = await ThreadCompute.open({backend: resolved, modelPath});
	closers.push(() => compute.close());
	const {clients, validation, rowsCut} = data;
	const isGuest = part && !part.roles.some(({kind}) => kind === 'fed-server');
	const own = isGuest ? ownReports(broker.connect) : {actor: broker.connect, recorder: broker.connect};
	const {actor: connect} = own;
	const parts = {model, compute, connect, clients, validation, initial};
	if (clock) {
		const connectReal = broker.url === undefined ? undefined : connect;
		const simulation = {...parts, scenario, rowsCut, whatIf, startMs, clock, connectReal};
		return clock === 'wall'
			? {...(await imposedWorld(simulation)), opened}
			: {world: simulatedWorld(simulation), opened};
	}
	const world = {
		roles: part?.roles ?? rolesOf(scenario),
		openActor: localActors({...parts, isEndRepeated: true, noiseKey: freshNoiseKey()}),
		connect: own.recorder,
		rowsCut,
	};
	return {world, opened};
}

/** The scenario's devices and links in real time. */
async function imposedWorld(simulation: SimulationParts): Promise<Omit<Opening, 'opened'>> {
	const prediction = await predict(simulation);
	const world = simulatedWorld(simulation);
	const {scenario} = simulation;
	const beside = (rows: readonly MetricsRow[], seconds: number) =>
		besidePrediction(prediction, {scenario, rows, seconds, figures: world.figures()});
	return {world: {...world, beside}, predictedSeconds: prediction.seconds};
}

async function openInProcesses(
	{scenario, creds, durable, onNotice}: WorldOptions,
	{resolved, model, modelPath, broker}: Parts,
	closers: Closer[],
): Promise<Opening> {
	const {connect, url} = broker;
	if (url === undefined) {
		const fix = 'run `cutlayer setup`, or name one with --nats';
		throw new CutlayerError(
			'broker-unreachable',
			`Expected a nats-server for --processes, found ${broker.text}; ${fix}`,
		);
	}
	const thread = {backend: resolved, modelPath};
	const {environment} = resolved;
	const processes = await openProcesses({
		...{scenario, model, thread, natsUrl: url, environment, durable, onNotice},
		...(creds && {natsCreds: creds.secretText}),
	});
	closers.push(() => processes.close());
	const {openActor, rowsCut, opened} = processes;
	return {world: {roles: rolesOf(scenario), openActor, connect, rowsCut}, opened};
}

type Connect = {
	readonly connect: (name: string) => Promise<Bus>;
	/** Of a broker that other processes can reach; it may hold a password. */
	readonly url?: string;
	readonly text: string;
};

async function openBroker({bus, natsUrl, clock, onNotice, creds}: WorldOptions, closers: Closer[]): Promise<Connect> {
	if (clock === 'virtual' && bus === 'memory') return memoryBroker('simulated, in virtual time');
	if (bus === 'memory') return memoryBroker('memory, as asked for');
	if (natsUrl) return foreignBroker(natsUrl, onNotice, creds);
	const found = findBroker();
	if (!found) {
		onNotice('No nats-server found: run `cutlayer setup`, or name one with --nats. This run uses the memory bus.');
		return memoryBroker('memory, because no nats-server was found');
	}
	const broker = await startBroker({binary: found.binary});
	closers.push(() => broker.stop());
	return {
		url: broker.url,
		connect: name => connectNats({url: broker.url, name, onNotice}),
		text: `nats-server at ${broker.url} (embedded, found by ${found.source})`,
	};
}

/** Throws `usage` without a broker, and what `openTraceStream` throws. */
async function keepTrace(run: string, {url, text}: Connect, creds: BrokerCredentials | undefined): Promise<void> {
	if (url === undefined)
		throw new CutlayerError('usage', `Expected a nats-server for --trace-stream, found ${text}; name one with --nats`);
	const bus = await connectNats({url, name: 'trace', creds});
	await openTraceStream(bus, run).finally(() => bus.close());
}

/** What a durable run has at its broker begins anew with it and goes with it. Throws `broker-limit` without JetStream. */
async function keepRun(run: string, broker: Connect, {creds}: WorldOptions, closers: Closer[]): Promise<void> {
	if (broker.url === undefined) return;
	const bus = await connectNats({url: broker.url, name: 'durable', creds, onNotice: () => undefined});
	closers.push(() => bus.close());
	const streams = await openRunStreams(bus, run, {isFresh: true});
	closers.push(() => (bus.isConnected ? dropRunStreams(streams).catch(() => undefined) : Promise.resolve()));
}

/** Throws `broker-unreachable` before anything else is opened or written. */
async function foreignBroker(
	url: string,
	onNotice: (text: string) => void,
	creds: BrokerCredentials | undefined,
): Promise<Connect> {
	const onProblem = (problem: Error) => onNotice(problem.message);
	const options = {url, onNotice, onProblem, creds};
	const probe = await connectNats({...options, name: 'probe'});
	await probe.close();
	return {url, connect: name => connectNats({...options, name}), text: probe.url};
}

function memoryBroker(text: string): Connect {
	const broker = createMemoryBroker();
	return {connect: () => Promise.resolve(broker.connect()), text};
}
