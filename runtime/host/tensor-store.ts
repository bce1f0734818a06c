/**
The tensors of one actor, by handle. What the machine no longer names is swept, at a cost that is amortised over what came in.
*/
import type {NamedTensors, TensorHandle} from '../../protocols/tensor.ts';

function bytesOf(tensors: NamedTensors): number {
	let total = 0;
	for (const name in tensors) total += tensors[name]!.bytes.byteLength;
	return total;
}

export class TensorStore {
	readonly #prefix: string;
	readonly #bytesFloor: number;
	readonly #countFloor: number;
	#held = new Map<string, {readonly tensors: NamedTensors; readonly bytes: number}>();
	#bytes = 0;
	#bytesAfterSweep = 0;
	#countAfterSweep = 0;
	#next = 0;

	/** Sweeping begins when `bytesFloor` (default 8 MiB) or `countFloor` handles (default 8) more than twice what the last left are held. */
	constructor(prefix: string, {bytesFloor = 8 << 20, countFloor = 8} = {}) {
		this.#prefix = prefix;
		this.#bytesFloor = bytesFloor;
		this.#countFloor = countFloor;
	}

	get bytes(): number {
		return this.#bytes;
	}

	put(tensors: NamedTensors): TensorHandle {
		const handle = `${this.#prefix}/${this.#next++}`;
		const bytes = bytesOf(tensors);
		this.#held.set(handle, {tensors, bytes});
		this.#bytes += bytes;
		return {handle, bytes};
	}

	/** The tensors of a handle; throws when it was swept, which is a mistake of the machine that still used it. */
	get({handle}: TensorHandle): NamedTensors {
		const held = this.#held.get(handle);
		if (!held) throw new Error(`Tensors ${handle} are gone: the machine's context no longer named them`);
		return held.tensors;
	}

	/** Drops what `context` does not name, when enough has come in since the last time. */
	sweep(context: () => unknown, {isForced = false} = {}): void {
		const isLight = this.#bytes <= 2 * this.#bytesAfterSweep + this.#bytesFloor;
		const isShort = this.#held.size <= 2 * this.#countAfterSweep + this.#countFloor;
		if (!isForced && isLight && isShort) return;
		const named = new Set<string>();
		collectHandles(context(), named);
		for (const [handle, {bytes}] of this.#held) {
			if (named.has(handle)) continue;
			this.#held.delete(handle);
			this.#bytes -= bytes;
		}
		this.#bytesAfterSweep = this.#bytes;
		this.#countAfterSweep = this.#held.size;
	}

	/** Everything held, for a checkpoint. */
	entries(): [string, NamedTensors][] {
		return [...this.#held].map(([handle, {tensors}]) => [handle, tensors]);
	}

	/** Takes over what a checkpoint held; new handles go on after the old ones. */
	restore(entries: readonly (readonly [string, NamedTensors])[], next: number): void {
		this.#held = new Map(entries.map(([handle, tensors]) => [handle, {tensors, bytes: bytesOf(tensors)}]));
		this.#bytes = [...this.#held.values()].reduce((total, {bytes}) => total + bytes, 0);
		this.#bytesAfterSweep = this.#bytes;
		this.#countAfterSweep = this.#held.size;
		this.#next = next;
	}

	get next(): number {
		return this.#next;
	}
}

function collectHandles(value: unknown, named: Set<string>): void {
	if (typeof value !== 'object' || value === null) return;
	const {handle} = value as {handle?: unknown};
	if (typeof handle === 'string') named.add(handle);
	else for (const inner of Object.values(value)) collectHandles(inner, named);
}
