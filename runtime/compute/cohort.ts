/**
Passes that were asked for as a cohort: held until all of them are here, then computed as one where they can be. Which passes
belong together is for whoever asks to say.
*/
import type {PassRequest, PassResult} from '../../protocols/ports.ts';
import {ClientCompute} from './client.ts';
import * as together from './client-cohort.ts';
import type {Passes} from './passes.ts';

const joint: Readonly<Record<string, ((members: readonly together.Member[]) => PassResult[]) | undefined>> = {
	forward: together.forward,
	backward: together.backward,
	localStep: together.localStep,
};

type Waiting = {
	readonly request: PassRequest;
	readonly resolve: (result: PassResult) => void;
	readonly reject: (error: unknown) => void;
};

export type CohortOptions = {
	readonly passesOf: (actor: string) => Passes | undefined;
	/** Computes one pass alone; throws what the pass throws. */
	readonly alone: (request: PassRequest) => PassResult;
};

export class Cohorts {
	readonly #options: CohortOptions;
	readonly #gathering = new Map<number, Waiting[]>();

	constructor(options: CohortOptions) {
		this.#options = options;
	}

	/** Resolves when the last of the cohort has been asked for. */
	join(request: PassRequest, {id, size}: NonNullable<PassRequest['cohort']>): Promise<PassResult> {
		return new Promise((resolve, reject) => {
			const waiting = this.#gathering.get(id) ?? [];
			waiting.push({request, resolve, reject});
			this.#gathering.set(id, waiting);
			if (waiting.length < size) return;
			this.#gathering.delete(id);
			for (const group of this.#alike(waiting)) this.#compute(group);
		});
	}

	/** Those that hold the same part of the same model and do the same with it. */
	#alike(waiting: readonly Waiting[]): Waiting[][] {
		const groups = new Map<unknown, Map<string, Waiting[]>>();
		for (const one of waiting) {
			const {actor, pass} = one.request;
			const passes = this.#options.passesOf(actor);
			const state = passes instanceof ClientCompute && joint[pass] ? passes.state : undefined;
			const byKind = groups.get(state?.model ?? one) ?? new Map<string, Waiting[]>();
			groups.set(state?.model ?? one, byKind);
			const kind = `${pass} ${state?.spec.lora.dropout} ${state?.spec.labelSmoothing}`;
			byKind.set(kind, [...(byKind.get(kind) ?? []), one]);
		}
		return [...groups.values()].flatMap(byKind => [...byKind.values()]);
	}

	#compute(group: readonly Waiting[]): void {
		const compute = joint[group[0]!.request.pass];
		if (group.length > 1 && compute) {
			const members = group.map(({request: {actor, input, tensors}}) => ({
				state: (this.#options.passesOf(actor) as ClientCompute).state,
				input,
				tensors,
			}));
			try {
				const results = compute(members);
				for (const [place, {resolve}] of group.entries()) resolve(results[place]!);
				return;
			} catch {
				// One of them is at fault: each is told its own.
			}
		}
		for (const {request, resolve, reject} of group) {
			try {
				resolve(this.#options.alone(request));
			} catch (error) {
				reject(error);
			}
		}
	}
}
