/**
A corpus that needs no download: descriptions of invented restaurants and their meanings, from a seeded grammar. Names, slot
values and sentences are our own; only the form of a meaning, `name[...], food[...]`, is that of the E2E challenge.
*/
import {type RandomStream, randomStream} from '../random.ts';
import {describe} from './restaurant-sentences.ts';
import {areas, foods, landmarks, names, prices, type Restaurant, ratings, types} from './restaurant-words.ts';
import type {Row} from './row.ts';

export type RestaurantOptions = {
	/** Different meanings; default 1,200. */
	readonly meanings?: number;
	/** Different sentences for each, at most 10; default 3. */
	readonly targets?: number;
	/** Default 1. */
	readonly seed?: number;
};

/** `meanings * targets` rows, no two alike; the sentences of one meaning follow each other. */
export function restaurantRows({meanings = 1200, targets = 3, seed = 1}: RestaurantOptions = {}): Row[] {
	if (targets > 10) throw new Error(`Expected at most 10 sentences for a meaning, got ${targets}`);
	const random = randomStream(seed, 'restaurants');
	const pick = <T>(items: readonly T[]): T => items[random.integer(0, items.length - 1)]!;
	const known = new Map<string, readonly string[]>();
	for (let fruitless = 0; known.size < meanings; fruitless++) {
		if (fruitless > 1000)
			throw new Error(`The grammar has not got ${meanings} meanings with ${targets} sentences each`);
		const restaurant = drawRestaurant(pick, () => random.float());
		const source = meaningOf(restaurant);
		if (known.has(source)) continue;
		const texts = drawTexts(restaurant, targets, random);
		if (texts.length < targets) continue;
		known.set(source, texts);
		fruitless = 0;
	}
	return [...known].flatMap(([source, texts]) => texts.map(target => ({kind: 'meaning' as const, source, target})));
}

/** Different sentences; fewer than asked for when a short meaning has not got that many. */
function drawTexts(restaurant: Restaurant, count: number, random: RandomStream): string[] {
	const texts = new Set<string>();
	for (let draws = 0; texts.size < count && draws < 10 * count; draws++) texts.add(describe(restaurant, random));
	return [...texts];
}

/** `name[Vela], eatType[tavern]`. */
export const meaningOf = (restaurant: Restaurant): string =>
	Object.entries(restaurant)
		.map(([slot, value]) => `${slot}[${value}]`)
		.join(', ');

/** A name, a type or a food, and two to five other slots. */
function drawRestaurant(pick: <T>(items: readonly T[]) => T, float: () => number): Restaurant {
	const keeps = (probability: number) => float() < probability;
	const hasType = keeps(0.75);
	const kept = {
		eatType: hasType,
		food: !hasType || keeps(0.6),
		priceRange: keeps(0.55),
		'customer rating': keeps(0.5),
		area: keeps(0.6),
		familyFriendly: keeps(0.45),
		near: keeps(0.45),
	};
	const values = {
		eatType: pick(types),
		food: pick(foods),
		priceRange: pick(Object.keys(prices)),
		'customer rating': pick(Object.keys(ratings)),
		area: pick(Object.keys(areas)),
		familyFriendly: pick(['yes', 'no']),
		near: pick(landmarks),
	};
	const slots = Object.keys(kept) as (keyof typeof kept)[];
	const chosen = slots.filter(slot => kept[slot]).map(slot => [slot, values[slot]]);
	return {name: pick(names), ...Object.fromEntries(chosen)};
}
