import {join} from 'node:path';
import test from 'ava';
import {readCsv} from '../../runtime/data/corpus.ts';
import {areas, families, prices, ratings} from '../../runtime/data/restaurant-words.ts';
import {restaurantRows} from '../../runtime/data/restaurants.ts';
import {attributesOf} from '../../runtime/data/row.ts';
import {testWith} from '../_helpers/optional.ts';
import {sharedPath} from '../_helpers/shared.ts';

const e2e = sharedPath('data/e2e');
const rows = restaurantRows();

test('the corpus has thousands of different rows and is the same every time', t => {
	t.is(rows.length, 3600);
	t.is(new Set(rows.map(({source, target}) => `${source}|${target}`)).size, 3600);
	t.is(new Set(rows.map(({source}) => source)).size, 1200);
	t.deepEqual(restaurantRows(), rows);
	t.notDeepEqual(restaurantRows({seed: 2, meanings: 10}), restaurantRows({seed: 1, meanings: 10}));
	const words = new Set(rows.flatMap(({target}) => target.toLowerCase().match(/[a-z]+/g)!));
	t.true(words.size > 200, `${words.size} words`);
});

test('every slot of a meaning is told in its sentence, once', t => {
	const told = (tellings: typeof prices, value: string) => [...tellings[value]!.phrases, ...tellings[value]!.clauses];
	for (const {source, target} of rows) {
		const {name, food, near, eatType, ...rest} = attributesOf(source);
		const text = target.toLowerCase();
		for (const value of [name, food, near, eatType]) {
			if (value) t.true(text.includes(value.toLowerCase()), `${value} in ${target}`);
		}
		const alternatives: [string | undefined, (value: string) => readonly string[]][] = [
			[rest.priceRange, value => told(prices, value)],
			[rest['customer rating'], value => told(ratings, value)],
			[rest.familyFriendly, value => told(families, value)],
			[rest.area, value => areas[value]!],
		];
		for (const [value, phrasesOf] of alternatives) {
			if (value)
				t.true(
					phrasesOf(value).some(phrase => text.includes(phrase.toLowerCase())),
					`${value} in ${target}`,
				);
		}
		if (food) t.is(target.split(food).length, 2, target);
	}
});

test('sentences begin with a capital, end with a full stop and have the right articles', t => {
	for (const {target} of rows) {
		t.regex(target, /^\p{Lu}.*\.$/u);
		t.notRegex(target, /undefined| {2}|,,| ,|\.\.|\ba [aeiou]|\ban [^aeiou]/i, target);
		for (const sentence of target.split(/(?<=\.) /)) t.regex(sentence, /^[\p{Lu}£]/u);
	}
});

testWith(e2e)('no sentence and no name is one of E2E', async t => {
	const theirs = await readCsv(join(e2e!, 'trainset.csv'));
	const sentences = new Set(theirs.map(({target}) => target.trim()));
	t.deepEqual(
		rows.filter(({target}) => sentences.has(target)),
		[],
	);
	const names = new Set(theirs.map(({source}) => attributesOf(source).name));
	t.deepEqual(
		rows.filter(({source}) => names.has(attributesOf(source).name)),
		[],
	);
});
