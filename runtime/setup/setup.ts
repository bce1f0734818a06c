/**
Everything a run needs that no package carries: native TensorFlow, a broker and a base model. Does only what is missing, one
process at a time, and touches no network when nothing is.
*/
import {CutlayerError} from '../../protocols/errors.ts';
import {buildBinding, builtBinding} from './binding.ts';
import {ensureBroker} from './broker.ts';
import {cacheFolder, clearStaging} from './cache.ts';
import {findBroker} from './find-broker.ts';
import {withLock} from './lock.ts';
import {defaultModel, ensureModel, resolveModel} from './model.ts';
import {cachedLibrary, ensureNative} from './native.ts';
import {nativeWheel} from './native-wheels.ts';
import {ownLibrary} from './own-library.ts';
import {ignoreProgress, type OnProgress} from './progress.ts';
import type {BackendKind} from './resolve.ts';

export type SetupWants = {
	/** `tensorflow` fails without it; `auto`, the default, goes on with wasm. */
	readonly backend?: BackendKind | 'auto';
	/** Native TensorFlow with CUDA; default false. */
	readonly cuda?: boolean;
	/** Default true. */
	readonly broker?: boolean;
	/** A model's name or path; false for none. Default `smollm2-135m`. */
	readonly model?: string | false;
};

export type SetupItem = {
	readonly part: 'backend' | 'broker' | 'model';
	/** `present` was there, `got` was fetched or built now, `missing` could not be had. */
	readonly state: 'present' | 'got' | 'missing';
	/** What will be used, and where it came from; for `missing`, why. */
	readonly text: string;
	readonly path?: string;
	/** True when a run cannot start without it. */
	readonly isRequired: boolean;
};

type Found = {readonly text: string; readonly path?: string};

type Step = {
	readonly part: SetupItem['part'];
	readonly isRequired: boolean;
	/** What is on this machine already, or undefined. */
	readonly find: () => Found | undefined;
	readonly get: (onProgress: OnProgress) => Promise<unknown>;
	/** What is used instead when it cannot be had. */
	readonly otherwise: string;
};

/** Makes ready what a run wants and says what became of each part; what cannot be had is an item, not an exception. */
export async function ensureSetup(options: {wants?: SetupWants; onProgress?: OnProgress} = {}): Promise<SetupItem[]> {
	const onProgress = options.onProgress ?? ignoreProgress;
	const steps = stepsFor(options.wants ?? {});
	if (steps.every(step => isFound(step))) return Promise.all(steps.map(step => take(step, onProgress)));
	const cache = cacheFolder();
	const work = async () => {
		await clearStaging(cache);
		const items: SetupItem[] = [];
		for (const step of steps) items.push(await take(step, onProgress));
		return items;
	};
	return withLock(cache, work, owner => onProgress({what: `Waiting for another setup (${owner})`}));
}

function stepsFor({backend = 'auto', cuda = false, broker = true, model = defaultModel}: SetupWants): Step[] {
	const steps: Step[] = [];
	if (backend === 'auto' || backend === 'tensorflow') steps.push(backendStep(backend, cuda));
	if (broker) {
		steps.push({
			part: 'broker',
			isRequired: false,
			find: () => {
				const found = findBroker();
				return found && {text: `nats-server from ${found.source}`, path: found.binary};
			},
			get: ensureBroker,
			otherwise: 'runs use the memory bus until then',
		});
	}
	if (model !== false) {
		steps.push({
			part: 'model',
			isRequired: true,
			find: () => {
				const found = resolveModel(model);
				return found && {text: `${model} from ${found.from}`, path: found.path};
			},
			get: progress => ensureModel(model, progress),
			otherwise: 'runs of this model cannot start',
		});
	}
	return steps;
}

function backendStep(backend: 'auto' | 'tensorflow', cuda: boolean): Step {
	const cache = cacheFolder();
	const own = process.env.TENSORFLOW_LIB;
	return {
		part: 'backend',
		isRequired: backend === 'tensorflow',
		find: () => {
			const wheel = nativeWheel(process.platform, process.arch, cuda);
			const library = own ? ownLibrary(cache, own) : wheel && cachedLibrary(cache, wheel);
			const built = library && builtBinding(library.bindingFolder);
			return (
				built && {text: `TensorFlow ${built.facts.tensorflowVersion} from ${library.from}`, path: built.bindingPath}
			);
		},
		get: progress =>
			own ? buildBinding(cache, ownLibrary(cache, own), progress) : ensureNative(cache, cuda, progress),
		otherwise: 'runs compute with wasm, several times slower',
	};
}

function isFound(step: Step): boolean {
	try {
		return step.find() !== undefined;
	} catch {
		return false;
	}
}

async function take(step: Step, onProgress: OnProgress): Promise<SetupItem> {
	const {part, isRequired} = step;
	try {
		const present = step.find();
		if (present) return {part, state: 'present', isRequired, ...present};
		await step.get(onProgress);
		const got = step.find();
		if (got) return {part, state: 'got', isRequired, ...got};
		throw new Error(`The ${part} was just set up and is not there`);
	} catch (error) {
		if (!(error instanceof CutlayerError)) throw error;
		return {part, state: 'missing', isRequired, text: `${error.message}. Without it, ${step.otherwise}`};
	}
}
