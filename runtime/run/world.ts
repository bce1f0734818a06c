/**
Opens what a run needs of this machine: backend, model, data, broker. What it opened it closes, in every case.
*/
import type {Bus} from '../../protocols/ports.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import {startBroker} from '../bus/broker.ts';
import {createMemoryBroker} from '../bus/memory.ts';
import {connectNats} from '../bus/nats.ts';
import {ThreadCompute} from '../compute/thread.ts';
import {openTokenizer} from '../data/tokenizer.ts';
import type {ModelConfig} from '../model/config.ts';
import {findBroker} from '../setup/find-broker.ts';
import {ensureModel} from '../setup/model.ts';
import type {OnProgress} from '../setup/progress.ts';
import {type BackendKind, resolveBackend} from '../setup/resolve.ts';
import {openWeights} from '../weights/load.ts';
import {openRunData} from './data.ts';
import {loadInitial} from './initial.ts';
import type {World} from './live-run.ts';
import {localActors} from './local-actor.ts';
import {checkAgainstModel, rolesOf} from './plan.ts';

export type WorldOptions = {
	readonly scenario: Scenario;
	readonly bus: 'nats' | 'memory';
	/** A broker to use; without one an embedded `nats-server` is started. */
	readonly natsUrl?: string | undefined;
	readonly backend?: BackendKind | undefined;
	readonly onNotice: (text: string) => void;
	readonly onProgress: OnProgress;
};

/** For `config.json` and the first lines a user sees. */
export type WorldFacts = {
	readonly backend: string;
	readonly backendReason: string;
	readonly model: string;
	readonly modelPath: string;
	readonly modelHash: string;
	readonly broker: string;
};

export type OpenWorld = {
	readonly world: World;
	readonly config: ModelConfig;
	readonly facts: WorldFacts;
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
		const data = await openRunData(scenario, tokenizer);
		const initial = scenario.lora.initial ? await loadInitial(scenario.lora.initial, weights.config) : undefined;
		const broker = await openBroker(options, closers);
		const {compute, backend, backendReason} = await openCompute(options, files.path, closers);
		const {config, modelHash} = weights;
		const model = {config, modelHash, vocabularyHash: tokenizer.vocabularyHash};
		const {clients, validation, rowsCut} = data;
		const parts = {model, compute, connect: broker.connect, clients, validation, initial};
		return {
			world: {roles: rolesOf(scenario), openActor: localActors(parts), connect: broker.connect, rowsCut},
			config,
			facts: {
				backend,
				backendReason,
				model: `${scenario.model} (${files.from})`,
				modelPath: files.path,
				modelHash,
				broker: broker.text,
			},
			close,
		};
	} catch (error) {
		await close();
		throw error;
	}
}

async function openCompute({backend: wanted}: WorldOptions, modelPath: string, closers: Closer[]) {
	const resolved = resolveBackend(wanted);
	// The library reads these when it loads, in whatever thread that is.
	for (const [name, value] of Object.entries(resolved.environment)) process.env[name] ??= value;
	const {compute, opened} = await ThreadCompute.open({backend: resolved, modelPath});
	closers.push(() => compute.close());
	return {compute, backend: `${opened.backend}${opened.isGpu ? ' on a GPU' : ''}`, backendReason: resolved.reason};
}

type Connect = {readonly connect: (name: string) => Promise<Bus>; readonly text: string};

async function openBroker({bus, natsUrl, onNotice}: WorldOptions, closers: Closer[]): Promise<Connect> {
	if (bus === 'memory') return memoryBroker('memory, as asked for');
	if (natsUrl) return {connect: name => connectNats({url: natsUrl, name, onNotice}), text: natsUrl};
	const found = findBroker();
	if (!found) {
		onNotice('No nats-server found: run `cutlayer setup`, or name one with --nats. This run uses the memory bus.');
		return memoryBroker('memory, because no nats-server was found');
	}
	const broker = await startBroker({binary: found.binary});
	closers.push(() => broker.stop());
	return {
		connect: name => connectNats({url: broker.url, name, onNotice}),
		text: `nats-server at ${broker.url} (embedded, found by ${found.source})`,
	};
}

function memoryBroker(text: string): Connect {
	const broker = createMemoryBroker();
	return {connect: () => Promise.resolve(broker.connect()), text};
}
