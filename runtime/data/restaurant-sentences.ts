/**
Turns a restaurant into a description: an opening with name, type and some of its place, then what is left, in any order.
Every slot of the meaning is told exactly once.
*/
import type {RandomStream} from '../random.ts';
import {areas, families, nearness, prices, type Restaurant, ratings, type Telling} from './restaurant-words.ts';

/** A description of one to four sentences. */
export function describe(restaurant: Restaurant, random: RandomStream): string {
	const draw = <T>(items: readonly T[]): T => items[random.integer(0, items.length - 1)]!;
	const told = tellings(restaurant, draw);
	const opensWithFood = !restaurant.eatType || random.float() < 0.7;
	const places = placesOf(restaurant, draw);
	const early = random.shuffle(places).filter(() => random.float() < 0.6);
	if (!opensWithFood && restaurant.food) told.push(foodTelling(restaurant.food));
	const late = places.filter(place => !early.includes(place));
	if (late.length > 0) told.push(placeTelling(late.join(', ')));
	random.shuffle(told);
	const noun = nounOf(opensWithFood ? restaurant : {...restaurant, food: undefined}, draw);
	const [opening, rest] = open({name: restaurant.name, noun, place: early.join(', '), told, draw});
	return [opening, ...follow(restaurant.name, rest, draw)].join(' ');
}

type Draw = <T>(items: readonly T[]) => T;

const tellings = (restaurant: Restaurant, draw: Draw): Told[] =>
	[
		prices[restaurant.priceRange ?? ''],
		ratings[restaurant['customer rating'] ?? ''],
		families[restaurant.familyFriendly ?? ''],
	].flatMap(telling => (telling ? [toTold(telling, draw)] : []));

/** A telling with one phrase and one clause drawn. */
type Told = {readonly phrase: string; readonly clause: string; readonly tone: number};

const toTold = ({phrases, clauses, tone}: Telling, draw: Draw): Told => ({
	phrase: draw(phrases),
	clause: draw(clauses),
	tone,
});

const foodTelling = (food: string): Told => ({
	phrase: `serves ${food} food`,
	clause: `the kitchen cooks ${food} dishes`,
	tone: 0,
});

const placeTelling = (place: string): Told => ({phrase: `is found ${place}`, clause: `it lies ${place}`, tone: 0});

function placesOf({area, near}: Restaurant, draw: Draw): string[] {
	const inArea = area ? [draw(areas[area]!)] : [];
	return near ? [...inArea, `${draw(nearness)} ${near}`] : inArea;
}

/** `a Greek tavern`, `a tavern`, `a place for Greek food`. */
function nounOf({eatType, food}: {eatType?: string | undefined; food?: string | undefined}, draw: Draw): string {
	if (!eatType)
		return draw([`a place for ${food} food`, `${articleOf(food!)} ${food} restaurant`, `a kitchen for ${food} dishes`]);
	if (!food) return `${articleOf(eatType)} ${eatType}`;
	return draw([
		`${articleOf(food)} ${food} ${eatType}`,
		`a ${eatType} with ${food} food`,
		`a ${eatType} serving ${food} dishes`,
	]);
}

const articleOf = (word: string) => (/^[aeiou]/i.test(word) ? 'an' : 'a');

type Opening = {
	readonly name: string;
	readonly noun: string;
	readonly place: string;
	readonly told: readonly Told[];
	readonly draw: Draw;
};

/** The first sentence, and what it leaves to be told. */
function open({name, noun, place, told, draw}: Opening): [string, readonly Told[]] {
	const where = place && ` ${place}`;
	const [first, ...rest] = told;
	const forms: [string, readonly Told[]][] = [
		[`${name} is ${noun}${where}.`, told],
		[`${capitalised(noun)}${where} goes by the name of ${name}.`, told],
		[`If you want ${noun}${where}, try ${name}.`, told],
	];
	if (place) {
		forms.push([`${capitalised(place)} you will find ${name}, ${noun}.`, told]);
		forms.push([`${name} is ${noun} and lies ${place}.`, told]);
	}
	if (first) {
		forms.push([`${name}, ${noun}${where}, ${first.phrase}.`, rest]);
		forms.push([`${name} is ${noun}${where} that ${first.phrase}.`, rest]);
		forms.push([`${name} is ${noun}${where}, and ${first.clause}.`, rest]);
	}
	return draw(forms);
}

/** Sentences for the rest, one or two facts in each. */
function follow(name: string, told: readonly Told[], draw: Draw): string[] {
	const sentences: string[] = [];
	for (let index = 0; index < told.length; ) {
		const [first, second] = told.slice(index, index + draw([1, 2, 2]));
		sentences.push(second ? pair(name, first!, second, draw) : single(name, first!, draw));
		index += second ? 2 : 1;
	}
	return sentences;
}

const subjects = (name: string) => ['It', 'It', 'The place', name];

const single = (name: string, {phrase, clause}: Told, draw: Draw): string =>
	draw([`${draw(subjects(name))} ${phrase}.`, `${capitalised(clause)}.`]);

function pair(name: string, first: Told, second: Told, draw: Draw): string {
	const isContrast = first.tone * second.tone < 0;
	const subject = draw(subjects(name));
	return isContrast
		? draw([
				`${subject} ${first.phrase} but ${second.phrase}.`,
				`${capitalised(first.clause)}, but ${second.clause}.`,
				`Although ${first.clause}, ${second.clause}.`,
			])
		: draw([
				`${subject} ${first.phrase} and ${second.phrase}.`,
				`${capitalised(first.clause)}, and ${second.clause}.`,
				`${subject} ${first.phrase}, and ${second.clause}.`,
			]);
}

const capitalised = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);
