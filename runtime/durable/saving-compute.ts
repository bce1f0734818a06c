/**
Arithmetic of one actor that is saved with each pass that changes it, so that a checkpoint may be taken at any time: what was
saved with a pass counts from the moment on in which the machine hears of that pass.
*/
import type {Compute, PassRequest, PassResult} from '../../protocols/ports.ts';

const changing: ReadonlySet<string> = new Set([
	'backward',
	'reuse',
	'localStep',
	'mainStep',
	'mainBackward',
	'averageReplicas',
	'adoptShared',
	'aggregate',
]);

/** A pass that is given a global adapter takes it over. */
const isChanging = ({pass, tensors}: PassRequest): boolean =>
	changing.has(pass) ||
	((pass === 'forward' || pass === 'readAdapter') && Object.keys(tensors).some(name => name.startsWith('adapter.')));

export class SavingCompute implements Compute {
	readonly #inner: Compute;
	readonly #saved = new WeakMap<PassResult, PassResult>();
	#latest: PassResult | undefined;

	constructor(inner: Compute) {
		this.#inner = inner;
	}

	/** The arithmetic after the last pass that the machine has heard of. */
	get latest(): PassResult {
		if (!this.#latest) throw new Error('No arithmetic was saved yet: it is with the opening of the actor');
		return this.#latest;
	}

	async run(request: PassRequest): Promise<PassResult> {
		const {actor, pass} = request;
		const save = () => this.#inner.run({actor, pass: 'save', input: {}, tensors: {}});
		const running = this.#inner.run(request);
		if (pass === 'restore') this.#latest = {output: request.input, tensors: request.tensors};
		if (pass === 'open') {
			const opened = await running;
			this.#latest = await save();
			return opened;
		}
		if (!isChanging(request)) return running;
		// Asked for in the same turn: no later pass can come between.
		const [result, saved] = await Promise.all([running, save()]);
		this.#saved.set(result, saved);
		return result;
	}

	/** The machine hears of a pass. */
	passed(result: PassResult): void {
		this.#latest = this.#saved.get(result) ?? this.#latest;
	}

	close(): Promise<void> {
		return this.#inner.close();
	}
}
