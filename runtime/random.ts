/**
Keyed random streams: the numbers of a stream depend on its key alone, never on who draws or in which order.
*/
import {createHash} from 'node:crypto';
import {uniformFloat64} from 'pure-rand/distribution/uniformFloat64';
import {uniformInt} from 'pure-rand/distribution/uniformInt';
import {xoroshiro128plusFromState} from 'pure-rand/generator/xoroshiro128plus';

/** A deterministic source of numbers. */
export interface RandomStream {
	/** A float in [0, 1). */
	float(): number;
	/** An integer in [from, to], both inclusive. */
	integer(from: number, to: number): number;
	/** A standard normal value (Box-Muller). */
	normal(): number;
	/** Puts the items in random order, in place, and returns them (Fisher-Yates). */
	shuffle<T>(items: T[]): T[];
}

/** Four 32-bit words that depend on every part of the key. */
export function keyWords(...key: readonly (string | number)[]): [number, number, number, number] {
	const digest = createHash('sha256').update(JSON.stringify(key)).digest();
	return [digest.readInt32LE(0), digest.readInt32LE(4), digest.readInt32LE(8), digest.readInt32LE(12)];
}

/** The stream of a key such as `(seed, clientId, round, 'batches')`; equal keys give equal numbers. */
export function randomStream(...key: readonly (string | number)[]): RandomStream {
	const generator = xoroshiro128plusFromState(keyWords(...key));
	const float = () => uniformFloat64(generator);
	const integer = (from: number, to: number) => uniformInt(generator, from, to);
	return {
		float,
		integer,
		normal: () => Math.sqrt(-2 * Math.log(1 - float())) * Math.cos(2 * Math.PI * float()),
		shuffle(items) {
			for (let last = items.length - 1; last > 0; last--) {
				const other = integer(0, last);
				[items[last], items[other]] = [items[other]!, items[last]!];
			}
			return items;
		},
	};
}
