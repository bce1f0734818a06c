/**
The compute port on a tensor backend in this thread. Frozen weights are loaded once for each part of the model and shared
by all actors that hold it.
*/
import type {Compute, PassRequest, PassResult} from '../../protocols/ports.ts';
import type {NamedTensors} from '../../protocols/tensor.ts';
import type {WeightSource} from '../model/config.ts';
import {type Part, SplitModel} from '../model/split.ts';
import type {Backend} from '../tensor/backend.ts';
import {ClientCompute} from './client.ts';
import {Cohorts} from './cohort.ts';
import {EvaluatorCompute} from './evaluator.ts';
import {FedServerCompute} from './fed-server.ts';
import {MainServerCompute} from './main-server.ts';
import {pick} from './names.ts';
import type {Pass, Passes} from './passes.ts';
import {ProbeCompute} from './probe.ts';
import {type ActorSpec, tailParts} from './spec.ts';

export class LocalCompute implements Compute {
	readonly #backend: Backend;
	readonly #source: WeightSource;
	readonly #models = new Map<string, Promise<SplitModel>>();
	readonly #actors = new Map<string, Passes>();
	readonly #cohorts = new Cohorts({
		passesOf: actor => this.#actors.get(actor),
		alone: request => this.#alone(request),
	});

	constructor(backend: Backend, source: WeightSource) {
		this.#backend = backend;
		this.#source = source;
	}

	/**
	Runs one pass: `open` with an `ActorSpec` comes first, `close` last. Throws what the pass throws. Passes of a cohort are
	computed when all of it has been asked for.
	*/
	async run(request: PassRequest): Promise<PassResult> {
		const {actor, pass, input, tensors, cohort} = request;
		if (cohort) return this.#cohorts.join(request, cohort);
		if (pass !== 'open') return this.#alone(request);
		this.#actors.get(actor)?.close();
		this.#actors.set(actor, await this.#open(actor, input as ActorSpec, pick(tensors, 'initial')));
		return {output: {}, tensors: {}};
	}

	#alone({actor, pass, input, tensors}: PassRequest): PassResult {
		const passes = this.#actors.get(actor) as (Passes & Record<string, Pass | undefined>) | undefined;
		const run = passes?.[pass];
		if (!passes || !run)
			throw new Error(
				`Actor ${actor} has no pass \`${pass}\`: ${passes ? 'its kind lacks it' : 'it was never opened'}`,
			);
		const result = run.call(passes, input, tensors);
		if (pass === 'close') this.#actors.delete(actor);
		return result;
	}

	async close(): Promise<void> {
		for (const passes of this.#actors.values()) passes.close();
		this.#actors.clear();
		// A part whose weights were refused holds nothing.
		for (const model of await Promise.allSettled(this.#models.values())) {
			if (model.status === 'fulfilled') model.value.dispose();
		}
		this.#models.clear();
	}

	async #open(actor: string, spec: ActorSpec, initial: NamedTensors): Promise<Passes> {
		if (spec.kind === 'client') {
			const tail = spec.tailPart && (await this.#model(spec.tailPart));
			return new ClientCompute(actor, spec, {model: await this.#model(spec.part), tail}, initial);
		}
		if (spec.kind === 'main-server')
			return new MainServerCompute(spec, await Promise.all(tailParts(spec).map(part => this.#model(part))), initial);
		if (spec.kind === 'fed-server') return new FedServerCompute(spec, this.#source.config, initial);
		if (spec.kind === 'probe') return this.#openProbe(spec.heads ?? []);
		return new EvaluatorCompute(spec, await Promise.all(spec.parts.map(part => this.#model(part))), initial);
	}

	async #openProbe(cuts: readonly number[]): Promise<ProbeCompute> {
		const headOf = (to: number) => this.#model({from: 0, to, hasEmbedding: true, hasHead: false});
		const heads = new Map<number, SplitModel>();
		for (const cut of cuts) heads.set(cut, await headOf(cut));
		return new ProbeCompute(await headOf(0), heads);
	}

	#model(part: Part): Promise<SplitModel> {
		const key = JSON.stringify([part.from, part.to, part.hasEmbedding, part.hasHead]);
		const known = this.#models.get(key);
		if (known) return known;
		const loading = SplitModel.load(this.#source, this.#backend, part);
		this.#models.set(key, loading);
		return loading;
	}
}
