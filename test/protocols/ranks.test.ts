import test from 'ava';
import {checkScenario} from '../../protocols/check-scenario.ts';
import {globalRank, rankOf} from '../../protocols/ranks.ts';

const scenario = (lora: object, kind = 'flexlora', clients = 3) =>
	checkScenario({name: 'ranks', clients, data: {kind: 'restaurants'}, aggregation: {kind}, lora});

test('clients take the ranks of the list in turn, and the global adapter has the largest', t => {
	const ranked = scenario({rank: 3, ranks: [2, 8]});
	t.deepEqual(
		['c0', 'c1', 'c2', 'c3', 'somebody'].map(id => rankOf(ranked, id)),
		[2, 8, 2, 8, 2],
	);
	t.is(globalRank(ranked), 8);
	t.is(rankOf(scenario({rank: 5}), 'c1'), 5);
});

test('unlike ranks without a rule that mixes them are refused with path and fix', t => {
	for (const kind of ['fedavg', 'median', 'fedex-lora', 'ffa-lora']) {
		t.throws(() => scenario({ranks: [2, 4]}, kind), {
			message:
				/`lora\.ranks` in .*ranks 2, 4 need a rule that mixes ranks, got `\S+`; set `aggregation\.kind` to zero-padding, flexlora, flora, or give one `lora\.rank`/,
		});
	}
	t.notThrows(() => scenario({ranks: [4, 4]}, 'fedavg'));
});

test('a list longer than the clients, and one beside an adapter to start from, are refused', t => {
	t.throws(() => scenario({ranks: [1, 2, 4, 8]}), {message: /at most one rank for each of the 3 clients, got 4/});
	t.throws(() => scenario({ranks: [1, 2], initial: 'adapter'}), {message: /leave out `lora\.initial`/});
});
