/**
The arithmetic of one actor, which may be made slower while the run is under way. Results are the same, only later.
*/
import type {Clock, Compute, PassRequest, PassResult} from '../../protocols/ports.ts';

export class SlowableCompute implements Compute {
	/** Added to each pass, ms of the clock. */
	delayMs = 0;
	readonly #inner: Compute;
	readonly #clock: Clock;

	constructor(inner: Compute, clock: Clock) {
		this.#inner = inner;
		this.#clock = clock;
	}

	run(request: PassRequest): Promise<PassResult> {
		// No turn more than the inner one's where nothing is slowed.
		return this.delayMs > 0 ? this.#slowly(request, this.delayMs) : this.#inner.run(request);
	}

	close(): Promise<void> {
		return this.#inner.close();
	}

	async #slowly(request: PassRequest, delayMs: number): Promise<PassResult> {
		const result = await this.#inner.run(request);
		await new Promise<void>(resolve => this.#clock.setTimeout(resolve, delayMs));
		return result;
	}
}
