import test from 'ava';
import {planShared} from '../../actors/policies/mixed-cuts.ts';
import {checkScenario} from '../../protocols/check-scenario.ts';
import {cutMax, cutMin, cutOf, distinctCuts} from '../../protocols/cuts.ts';

const scenario = (changes: object) =>
	checkScenario({name: 'cuts', clients: 3, data: {kind: 'restaurants'}, ...changes});

test('clients take the cuts of the list in turn', t => {
	const mixed = scenario({cut: [3, 1]});
	t.deepEqual(
		['c0', 'c1', 'c2', 'c3', 'somebody'].map(id => cutOf(mixed, id)),
		[3, 1, 3, 1, 1],
	);
	t.deepEqual([cutMin(mixed), cutMax(mixed), distinctCuts(mixed)], [1, 3, [1, 3]]);
	t.is(cutOf(scenario({cut: 5}), 'c1'), 5);
});

for (const [what, changes, message] of [
	['longer than the clients', {cut: [1, 2, 3, 4]}, /`cut`.*at most one cut for each of the 3 clients, got 4; shorten/],
	['without a main server', {cut: [1, 2], mainServer: false}, /`cut`.*set mainServer to true/],
	['with a copy a client', {cut: [1, 2], update: {kind: 'replicas'}}, /`update.kind`.*got the update replicas.*set/],
	[
		'with a rule over whole adapters',
		{cut: [1, 2], aggregation: {kind: 'median'}},
		/`aggregation.kind`.*cuts 1, 2 need a rule that averages block by block, got `median`; set .*fedavg.* or give one cut/,
	],
	['with other ranks', {cut: [1, 2], lora: {rank: 4, ranks: [2]}}, /`lora.ranks`.*its rank 4, got 2; leave out/],
	['of fractions', {cut: [1.5]}, /`cut.*/],
	['below zero', {cut: -1}, /`cut`.*one of a whole number from 0 on, a list of them that clients take in turn, got -1/],
] as const) {
	test(`a list of cuts ${what} is refused with path and fix`, t => {
		t.throws(() => scenario(changes), {message});
	});
}

test('equal cuts in a list are one cut: any rule will do', t => {
	t.notThrows(() => scenario({cut: [2, 2], aggregation: {kind: 'median'}, update: {kind: 'replicas'}}));
});

test('the copy of a block counts with the weights of those that lack it', t => {
	const members = [
		{weight: 0.5, cut: 1},
		{weight: 0.2, cut: 4},
		{weight: 0.3, cut: 2},
	];
	t.deepEqual(planShared([1, 2, 4], members), [
		{from: 1, to: 2, weight: 0.5},
		{from: 2, to: 4, weight: 0.8},
	]);
	t.deepEqual(planShared([2], members), []);
});
