/**
The message ids heard lately, so that a frame which a broker delivers twice is counted once. Bounded; it keeps no bodies.
*/

/** Many more than can be on their way at once. */
const idsMax = 4096;

export class RecentIds {
	readonly #ids = new Set<string>();

	/** Whether an id is new; it is known from then on. */
	add(id: string): boolean {
		if (this.#ids.has(id)) return false;
		this.#ids.add(id);
		if (this.#ids.size > idsMax) this.#ids.delete(this.#ids.values().next().value!);
		return true;
	}
}
