import test from 'ava';
import {checkScenario} from '../../protocols/check-scenario.ts';
import type {ScenarioFile} from '../../protocols/scenario.ts';

type Part = Partial<ScenarioFile>;
const check = (part: Part) => checkScenario({name: 'x', clients: 5, data: {kind: 'restaurants'}, ...part});
const sequential: Part = {update: {kind: 'sequential'}};

const refused: [what: string, part: Part, says: RegExp][] = [
	[
		'Krum over too few clients',
		{clients: 4, aggregation: {kind: 'krum'}},
		/`aggregation\.byzantine`.*2 x 1 \+ 3 clients, got 4; lower it/,
	],
	[
		'Krum over too small cohorts',
		{aggregation: {kind: 'krum'}, selection: {kind: 'random', count: 4}},
		/`aggregation\.byzantine`.*\+ 3 uploads a round, got at most 4/,
	],
	[
		'multi-Krum of rounds that close before enough came',
		{
			clients: 6,
			aggregation: {kind: 'multi-krum'},
			selection: {kind: 'random'},
			closing: {kind: 'overselect', count: 4},
		},
		/`aggregation\.byzantine`.*uploads a round, got at most 4/,
	],
	[
		'multi-Krum over more than there are',
		{aggregation: {kind: 'multi-krum', count: 6}},
		/`aggregation\.count`.*at most the 5 uploads of a round, got 6; lower it/,
	],
	[
		'a trimmed mean that trims everything',
		{aggregation: {kind: 'trimmed-mean', fraction: 0.5}},
		/`aggregation\.fraction`/,
	],
	[
		'FedBuff over more than the clients',
		{...sequential, aggregation: {kind: 'fedbuff', count: 6}},
		/`aggregation\.count`.*at most the 5 clients, got 6; lower it/,
	],
	[
		'FedBuff by default over few clients',
		{...sequential, aggregation: {kind: 'fedbuff'}},
		/`aggregation\.count`.*at most the 5 clients, got 10/,
	],
	[
		'asynchronous rounds of parallel steps',
		{aggregation: {kind: 'fedasync'}},
		/`update\.kind`.*got parallel.*set update\.kind to sequential or buffered/,
	],
	[
		'asynchronous rounds of copies',
		{aggregation: {kind: 'fedbuff', count: 2}, update: {kind: 'replicas'}},
		/`update\.kind`.*got replicas/,
	],
	[
		'asynchronous rounds that close',
		{...sequential, aggregation: {kind: 'fedasync'}, closing: {kind: 'adaptive'}},
		/`closing\.kind`.*got adaptive.*remove closing/,
	],
	[
		'asynchronous rounds of chosen clients',
		{...sequential, aggregation: {kind: 'fedasync'}, selection: {kind: 'random', count: 2}},
		/`selection\.kind`.*got random.*remove selection/,
	],
	[
		'asynchronous rounds of unlike ranks',
		{...sequential, aggregation: {kind: 'fedasync'}, lora: {ranks: [2, 4]}},
		/`lora\.ranks`.*need a rule that mixes ranks, got `fedasync`/,
	],
	[
		'a mixing of more than all',
		{...sequential, aggregation: {kind: 'fedasync', mixing: 1.5}},
		/`aggregation\.mixing`.*<= 1.*got 1\.5/,
	],
	[
		'a staleness that has no such function',
		{...sequential, aggregation: {kind: 'fedasync', staleness: {kind: 'steps' as 'hinge'}}},
		/`aggregation\.staleness`.*one of constant, polynomial, hinge/,
	],
	[
		'a buffer over the clients',
		{update: {kind: 'buffered', count: 6}},
		/`update\.count`.*at most the 5 clients, got 6/,
	],
	[
		'a quorum over the clients',
		{closing: {kind: 'quorum', count: 6}},
		/`closing\.count`.*at most the 5 clients, got 6/,
	],
	[
		'a quorum of count and fraction',
		{closing: {kind: 'quorum', count: 2, fraction: 0.5}},
		/`closing`.*either count or fraction; give one of the two/,
	],
	[
		'a quorum over the cohort',
		{closing: {kind: 'quorum', count: 3}, selection: {kind: 'oort', count: 2}},
		/`closing\.count`.*at most the 2 clients that are chosen.*got 3/,
	],
	[
		'a quorum over a fraction of the clients',
		{closing: {kind: 'quorum', count: 3}, selection: {kind: 'random', fraction: 0.4}},
		/`closing\.count`.*at most the 2 clients that are chosen.*got 3/,
	],
	[
		'a step closing over the cohort',
		{stepClosing: {kind: 'quorum', count: 3}, selection: {kind: 'random', count: 2}},
		/`stepClosing\.count`.*at most the 2 clients that are chosen.*got 3/,
	],
	['a step closing of nothing', {stepClosing: {kind: 'quorum'}}, /`stepClosing`.*either count or fraction/],
	[
		'more invitations than clients',
		{closing: {kind: 'overselect', count: 4}, selection: {kind: 'random'}},
		/`closing\.count`.*invites 4 x 1\.3 = 6 clients, got 5 clients/,
	],
	[
		'an overselection that selects all',
		{closing: {kind: 'overselect', count: 3}},
		/`selection\.kind`.*got all, but overselect invites 4 of 5 clients; set selection\.kind to random/,
	],
	[
		'two numbers of clients',
		{closing: {kind: 'overselect', count: 3}, selection: {kind: 'oort', count: 2}},
		/`selection\.count`.*overselect says how many: 4; remove selection\.count/,
	],
	[
		'a number and a fraction of clients',
		{closing: {kind: 'overselect', count: 3}, selection: {kind: 'random', fraction: 0.2}},
		/`selection\.fraction`.*remove selection\.fraction/,
	],
	['random selection of nothing', {selection: {kind: 'random'}}, /`selection`.*random needs either count or fraction/],
	['Oort without a count', {selection: {kind: 'oort'}}, /`selection`.*oort needs count/],
	[
		'a choice of more than the clients',
		{selection: {kind: 'oort', count: 6}},
		/`selection\.count`.*at most the 5 clients, got 6/,
	],
	[
		'power of choice among too few',
		{selection: {kind: 'power-of-choice', count: 3, candidates: 2}},
		/`selection\.candidates`.*at least the 3 clients that are chosen, got 2; raise it/,
	],
	[
		'power of choice among more than the clients',
		{selection: {kind: 'power-of-choice', count: 3}},
		/`selection\.candidates`.*at most the 5 clients, got 10/,
	],
	[
		'availability without a sign of life',
		{selection: {kind: 'available'}, timing: {leaseMs: 0}},
		/`selection\.kind`.*got timing\.leaseMs 0; set it/,
	],
];

for (const [what, part, says] of refused) {
	test(`${what} is refused with path and fix`, t => {
		t.throws(() => check(part), {code: 'scenario-invalid', message: says});
	});
}

test('what is just possible is not refused', t => {
	const possible: Part[] = [
		{aggregation: {kind: 'multi-krum', count: 5}},
		{...sequential, aggregation: {kind: 'fedbuff', count: 5}},
		{closing: {kind: 'quorum', count: 2}, selection: {kind: 'random', fraction: 0.4}},
		{closing: {kind: 'overselect', count: 3}, selection: {kind: 'oort'}},
		{closing: {kind: 'overselect', count: 4, factor: 1.25}},
		{selection: {kind: 'power-of-choice', count: 5, candidates: 5}},
		{mainServer: false, aggregation: {kind: 'fedasync'}},
		// 1.1 x 10 is 11 clients, though the product of the two numbers is above it.
		{clients: 11, closing: {kind: 'overselect', count: 10, factor: 1.1}},
	];
	for (const part of possible) t.notThrows(() => check(part), JSON.stringify(part));
});
