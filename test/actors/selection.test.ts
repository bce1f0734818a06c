import test from 'ava';
import fc from 'fast-check';
import type {Candidate} from '../../actors/policies/candidates.ts';
import {explorationOf, selectOort, utilitiesOf} from '../../actors/policies/select-oort.ts';
import {drawWeighted, selectRandom} from '../../actors/policies/select-random.ts';
import {selectCohort} from '../../actors/policies/selection.ts';
import {checkScenario} from '../../protocols/check-scenario.ts';
import type {Selection} from '../../protocols/policies.ts';
import type {ScenarioFile} from '../../protocols/scenario.ts';
import {randomStream} from '../../runtime/random.ts';

/** A selection with its defaults. */
const selection = (given: NonNullable<ScenarioFile['selection']>): Selection =>
	checkScenario({name: 'x', clients: 20, data: {kind: 'restaurants'}, selection: given}).selection;
const oort = selection({kind: 'oort', count: 2}) as Extract<Selection, {kind: 'oort'}>;

const candidate = (client: string, rest: Partial<Candidate> = {}): Candidate => ({client, samples: 10, ...rest});
const tried = (client: string, lossMean: number, rest: Partial<Candidate> = {}, durationMs = 100, round = 0) =>
	candidate(client, {
		...rest,
		statistics: {lossMean, lossSquareMean: lossMean ** 2, durationMs, round},
	}) as Candidate & {
		statistics: NonNullable<Candidate['statistics']>;
	};
const chosen = (how: Selection, all: readonly Candidate[], need = {round: 3}) =>
	selectCohort(how, all, need).map(({client}) => client);

test('all are chosen by order of their ids, who has no data is not, weights are shares of the samples', t => {
	const all = [candidate('b', {samples: 30}), candidate('c', {samples: 0}), candidate('a')];
	t.deepEqual(selectCohort({kind: 'all'}, all, {round: 0}), [
		{client: 'a', weight: 0.25},
		{client: 'b', weight: 0.75},
	]);
});

test('who is available is chosen, and everybody when nobody is', t => {
	const all = [candidate('a', {isAvailable: false}), candidate('b', {isAvailable: true}), candidate('c')];
	t.deepEqual(chosen({kind: 'available'}, all), ['b']);
	t.deepEqual(chosen({kind: 'available'}, [all[0]!, all[2]!]), ['a', 'c']);
});

test('a random choice takes the smallest numbers, so many or a fraction of who has data, one at least', t => {
	const all = [0.9, 0.1, 0.5, 0.3].map((draw, index) => candidate(`c${index}`, {draw}));
	t.deepEqual(chosen(selection({kind: 'random', count: 2}), all), ['c1', 'c3']);
	t.deepEqual(chosen(selection({kind: 'random', fraction: 0.75}), all), ['c1', 'c2', 'c3']);
	t.deepEqual(chosen(selection({kind: 'random', fraction: 0.01}), all), ['c1']);
	t.deepEqual(chosen(selection({kind: 'random', count: 9}), all), ['c0', 'c1', 'c2', 'c3']);
});

/** How often each of the clients a, b and c is chosen by a draw. */
function shares(draws: number, choose: (all: readonly Candidate[]) => readonly Candidate[]): Record<string, number> {
	const counts: Record<string, number> = {a: 0, b: 0, c: 0};
	for (let round = 0; round < draws; round++) {
		const all = ['a', 'b', 'c'].map(client => candidate(client, {draw: randomStream(5, round, client).float()}));
		for (const {client} of choose(all)) counts[client]! += 1 / draws;
	}
	return counts;
}

test('random choices take each client alike, weighted ones by their weights', t => {
	const alike = shares(3000, all => selectRandom(all, {count: 1}));
	for (const share of Object.values(alike)) t.true(Math.abs(share - 1 / 3) < 0.04, JSON.stringify(alike));
	const weights: Record<string, number> = {a: 1, b: 2, c: 5};
	const one = shares(3000, all => drawWeighted(all, 1, ({client}) => weights[client]!));
	for (const [client, weight] of Object.entries(weights))
		t.true(Math.abs(one[client]! - weight / 8) < 0.04, JSON.stringify(one));
	// Two of them: a is left out if c and b come first, 5/8 x 2/3 + 2/8 x 5/6 of the draws.
	const two = shares(3000, all => drawWeighted(all, 2, ({client}) => weights[client]!));
	t.true(Math.abs(two.a! - (1 - (5 / 8) * (2 / 3) - (2 / 8) * (5 / 6))) < 0.04, JSON.stringify(two));
});

test('power of choice takes the highest losses of those drawn, who never took part before all', t => {
	const how = selection({kind: 'power-of-choice', count: 2, candidates: 3});
	const all = [
		tried('a', 1, {draw: 0.9}),
		tried('b', 4, {draw: 0.8}),
		tried('c', 3, {draw: 0.7}),
		tried('d', 9, {draw: 0.1}),
	];
	// The largest log(draw) / samples are drawn: not d, for all its loss.
	t.deepEqual(chosen(how, all), ['b', 'c']);
	t.deepEqual(chosen(how, [...all.slice(0, 3), candidate('e', {draw: 0.95})]), ['b', 'e']);
});

test('the utility of Oort is samples times root mean square loss, less for the slow, more for the long unseen', t => {
	const all = [tried('a', 2, {}, 100, 0), tried('b', 2, {}, 50, 1), tried('c', 2, {samples: 20}, 25, 2)];
	// T is the median duration, 50; a takes twice that: a quarter. Round 2 is the third: ln 3.
	const found = [...utilitiesOf({penalty: 2}, all, 2).values()];
	const expected = [10 * 2 * 0.25, 10 * 2, 20 * 2].map(
		(value, index) => value + Math.sqrt((0.1 * Math.log(3)) / (index + 1)),
	);
	for (const [index, value] of expected.entries()) t.true(Math.abs(found[index]! - value) < 1e-12, `${found}`);
	t.true(Math.abs([...utilitiesOf({penalty: 2, preferredMs: 10}, [all[0]!], 0).values()][0]! - 20 / 100) < 1e-12);
});

test('the exploration of Oort falls from 0.9 by 0.98 a round down to 0.3', t => {
	t.deepEqual(
		[0, 1].map(round => explorationOf(oort, round)),
		[0.9, 0.9 * 0.98],
	);
	t.is(explorationOf(oort, 500), 0.3);
});

test('Oort tries its share of new clients and takes the most useful of the others', t => {
	const all = [
		...[1, 2, 3, 400].map((loss, index) => tried(`t${index}`, loss, {draw: 0.5})),
		...[0.2, 0.1, 0.3].map((draw, index) => candidate(`u${index}`, {draw})),
	];
	const ids = (count: number, round: number) =>
		selectOort({...oort, explorationMin: 0.5, exploration: 0.5}, all, {round, count})
			.map(({client}) => client)
			.toSorted();
	t.deepEqual(ids(2, 5), ['t3', 'u1']);
	// More than there are: the rest comes from the other kind.
	t.is(ids(7, 5).length, 7);
	t.deepEqual(
		ids(6, 5).filter(client => client.startsWith('u')),
		['u0', 'u1', 'u2'],
	);
});

const selections: Selection[] = [
	{kind: 'all'},
	{kind: 'available'},
	selection({kind: 'random', count: 3}),
	selection({kind: 'random', fraction: 0.3}),
	selection({kind: 'power-of-choice', count: 3, candidates: 5}),
	oort,
];

test('a cohort is of candidates with data, each once, in order, with weights that sum to 1, whatever order they came in', t => {
	const loss = fc.double({min: 0, max: 20, noNaN: true});
	const statistics = fc.record({
		lossMean: loss,
		lossSquareMean: loss,
		durationMs: fc.option(fc.double({min: 0, max: 1e6, noNaN: true})),
		round: fc.nat(9),
	});
	const one = fc.record({
		samples: fc.nat(50),
		draw: fc.double({min: 0, max: 1, maxExcluded: true, noNaN: true}),
		isAvailable: fc.boolean(),
		statistics: fc.option(statistics, {nil: undefined}),
	});
	const need = fc.record({
		round: fc.integer({min: 10, max: 99}),
		invited: fc.option(fc.integer({min: 1, max: 9}), {nil: undefined}),
	});
	fc.assert(
		fc.property(fc.constantFrom(...selections), fc.array(one, {maxLength: 9}), need, (how, drawn, wanted) => {
			const all = drawn.map((member, index) => ({...member, client: `c${index}`}));
			const able = all.filter(({samples}) => samples > 0);
			const cohort = selectCohort(how, all, wanted);
			const ids = cohort.map(({client}) => client);
			t.deepEqual(ids, [...new Set(ids)].toSorted());
			t.true(ids.every(id => able.some(({client}) => client === id)));
			if (able.length > 0) t.true(Math.abs(cohort.reduce((sum, {weight}) => sum + weight, 0) - 1) < 1e-9);
			t.true(cohort.every(({weight}) => weight > 0));
			if (how.kind !== 'all' && how.kind !== 'available' && how.kind !== 'in-turn') {
				const count =
					wanted.invited ??
					('fraction' in how && how.fraction ? Math.max(1, Math.round(how.fraction * able.length)) : how.count!);
				t.is(ids.length, Math.min(count, able.length));
			}
			t.deepEqual(selectCohort(how, all.toReversed(), wanted), cohort);
		}),
	);
});
