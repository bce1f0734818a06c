/**
What a run would use on this machine and why, and what is missing with its remedy. Looks and tries, changes nothing.
*/
import {availableParallelism, cpus, freemem, totalmem} from 'node:os';
import {errorText} from '../../protocols/errors.ts';
import {proveBinding} from './binding.ts';
import {cacheFolder, freeBytes} from './cache.ts';
import {brokerVersion, type FoundBroker, findBroker} from './find-broker.ts';
import {defaultModel, type ModelFiles, resolveModel} from './model.ts';
import {cpuFlags} from './native-wheels.ts';
import {type BackendKind, type ResolvedBackend, resolveBackend} from './resolve.ts';

/** Something that is not as it should be, and what to do about it. */
export type Problem = {readonly text: string; readonly stopsRuns: boolean};

export type Inspection = {
	/** True when a run of the inspected model can start. */
	readonly canStart: boolean;
	readonly node: {readonly version: string; readonly platform: string; readonly arch: string};
	readonly machine: {
		readonly cpu: string;
		/** Cores this process may use. */
		readonly cores: number;
		/** The vector instruction sets that decide the speed of products. */
		readonly flags: readonly string[];
		readonly memoryBytes: number;
		readonly memoryFreeBytes: number;
	};
	readonly cache: {readonly path: string; readonly freeBytes: number};
	readonly backend?: ResolvedBackend & {readonly tensorflowVersion?: string; readonly isOneDnnOn?: boolean};
	readonly broker?: FoundBroker & {readonly version: string | undefined};
	readonly model?: ModelFiles & {readonly name: string};
	readonly problems: readonly Problem[];
};

const nodeMin = [20, 19] as const;
const speedFlags = ['avx', 'avx2', 'fma', 'avx512f', 'avx512_bf16', 'amx_bf16', 'asimd', 'bf16'];

/** Inspects this machine for a run of `model` on `backend`; the defaults are a run's defaults. */
export async function inspectMachine(wants: {backend?: BackendKind; model?: string} = {}): Promise<Inspection> {
	const problems: Problem[] = [];
	const attempt = async <T>(stopsRuns: boolean, look: () => T | Promise<T>): Promise<T | undefined> => {
		try {
			return await look();
		} catch (error) {
			problems.push({text: errorText(error), stopsRuns});
			return undefined;
		}
	};
	await attempt(true, checkNode);
	const backend = await attempt(true, () => inspectBackend(wants.backend));
	if (backend?.kind === 'wasm' && wants.backend === undefined) problems.push({text: backend.reason, stopsRuns: false});
	const broker = await attempt(false, inspectBroker);
	const model = await attempt(true, () => inspectModel(wants.model ?? defaultModel));
	const cache = cacheFolder();
	return {
		canStart: !problems.some(problem => problem.stopsRuns),
		node: {version: process.version, platform: process.platform, arch: process.arch},
		machine: inspectHardware(),
		cache: {path: cache, freeBytes: await freeBytes(cache)},
		...(backend ? {backend} : {}),
		...(broker ? {broker} : {}),
		...(model ? {model} : {}),
		problems,
	};
}

function checkNode(): void {
	const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
	if (major > nodeMin[0] || (major === nodeMin[0] && minor >= nodeMin[1])) return;
	throw new Error(`Expected Node ${nodeMin.join('.')} or later, found ${process.version}: install a newer Node`);
}

async function inspectBackend(wanted: BackendKind | undefined): Promise<NonNullable<Inspection['backend']>> {
	const backend = resolveBackend(wanted);
	if (!backend.bindingPath) return backend;
	const tensorflowVersion = await proveBinding(backend.bindingPath, backend.environment);
	return {...backend, tensorflowVersion, isOneDnnOn: backend.environment.TF_ENABLE_ONEDNN_OPTS !== '0'};
}

async function inspectBroker(): Promise<NonNullable<Inspection['broker']>> {
	const broker = findBroker();
	if (!broker) throw new Error('No nats-server was found, runs use the memory bus: run `cutlayer setup`');
	return {...broker, version: await brokerVersion(broker.binary)};
}

function inspectModel(name: string): NonNullable<Inspection['model']> {
	const model = resolveModel(name);
	if (!model) throw new Error(`The model ${name} is not on this machine: run \`cutlayer setup --model ${name}\``);
	return {name, ...model};
}

function inspectHardware(): Inspection['machine'] {
	const flags = cpuFlags();
	const limit = process.constrainedMemory();
	const isLimited = limit > 0 && limit < totalmem();
	return {
		cpu: cpus()[0]?.model.trim() || 'unknown',
		cores: availableParallelism(),
		flags: speedFlags.filter(flag => flags.has(flag)),
		memoryBytes: isLimited ? limit : totalmem(),
		memoryFreeBytes: isLimited ? Math.min(limit, freemem()) : freemem(),
	};
}
