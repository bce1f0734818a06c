import test from 'ava';
import fc from 'fast-check';
import {CutlayerError} from '../../protocols/errors.ts';
import {type Partition, partition} from '../../runtime/data/partition.ts';
import type {Row} from '../../runtime/data/row.ts';

/** Rows of `classes` names in turn, longer and longer. */
const rowsOf = (count: number, classes: number): Row[] =>
	Array.from({length: count}, (_, index) => ({
		kind: 'meaning',
		source: `name[N${index % classes}], area[${index % 2 === 0 ? 'a' : 'b'}]`,
		target: 'x'.repeat(1 + index),
	}));

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

test('every row goes to exactly one client, whatever the division', t => {
	const how = fc.oneof(
		fc.constant<Partition>({kind: 'iid'}),
		fc.constant<Partition>({kind: 'length'}),
		fc.record({kind: fc.constant('quantity-skew' as const), sigma: fc.double({min: 0, max: 5, noNaN: true})}),
		fc.record({
			kind: fc.constant('dirichlet' as const),
			alpha: fc.oneof(fc.constant(1e-6), fc.double({min: 0.01, max: 100, noNaN: true})),
			by: fc.constantFrom('name', 'area'),
		}),
	);
	fc.assert(
		fc.property(how, fc.nat(120), fc.integer({min: 1, max: 30}), fc.nat(), (division, count, clients, seed) => {
			const rows = rowsOf(count, 7);
			const shards = partition(rows, clients, division, seed);
			t.is(shards.length, clients);
			t.deepEqual(
				shards.flat().toSorted((a, b) => a - b),
				rows.map((_, place) => place),
			);
			for (const shard of shards)
				t.deepEqual(
					shard,
					shard.toSorted((a, b) => a - b),
				);
			t.deepEqual(partition(rows, clients, division, seed), shards);
		}),
		{numRuns: 200},
	);
});

test('equal shares differ by one row at most and depend on the seed', t => {
	const rows = rowsOf(103, 5);
	const shards = partition(rows, 4, {kind: 'iid'}, 1);
	t.deepEqual(shards.map(({length}) => length).toSorted(), [25, 26, 26, 26]);
	t.notDeepEqual(partition(rows, 4, {kind: 'iid'}, 2), shards);
});

test('more clients than rows leaves some without any', t => {
	const shards = partition(rowsOf(3, 2), 5, {kind: 'iid'}, 1);
	t.deepEqual(shards.map(({length}) => length).toSorted(), [0, 0, 1, 1, 1]);
});

test('by length, each client has longer rows than the one before', t => {
	const rows = rowsOf(90, 3).toReversed();
	const shards = partition(rows, 3, {kind: 'length'}, 1);
	const lengths = shards.map(shard => shard.map(place => rows[place]!.target.length + rows[place]!.source.length));
	t.true(Math.max(...lengths[0]!) <= Math.min(...lengths[1]!));
	t.true(Math.max(...lengths[1]!) <= Math.min(...lengths[2]!));
});

test('skewed quantities follow the log-normal law', t => {
	const rows = rowsOf(20_000, 2);
	const logs: number[] = [];
	for (let seed = 0; seed < 40; seed++) {
		const sizes = partition(rows, 10, {kind: 'quantity-skew', sigma: 0.8}, seed).map(({length}) => Math.log(length));
		const centre = mean(sizes);
		// the common factor of a division hides one degree of freedom
		logs.push(...sizes.map(size => (size - centre) * Math.sqrt(10 / 9)));
	}
	const deviation = Math.sqrt(mean(logs.map(log => log * log)));
	t.true(Math.abs(deviation - 0.8) < 0.08, `${deviation}`);
	t.deepEqual(
		partition(rows, 4, {kind: 'quantity-skew', sigma: 0}, 1).map(({length}) => length),
		[5000, 5000, 5000, 5000],
	);
});

for (const alpha of [0.1, 0.5, 1, 5]) {
	test(`Dirichlet shares with alpha ${alpha} have the mean and variance of the distribution`, t => {
		const clients = 5;
		const classes = 400;
		const perClass = 100;
		const rows = rowsOf(classes * perClass, classes);
		const shards = partition(rows, clients, {kind: 'dirichlet', alpha, by: 'name'}, 11);
		const shares = shards.map(shard => {
			const counts = new Array<number>(classes).fill(0);
			for (const place of shard) counts[place % classes]! += 1 / perClass;
			return counts;
		});
		const expectedVariance = ((1 / clients) * (1 - 1 / clients)) / (clients * alpha + 1);
		for (const client of shares) {
			t.true(Math.abs(mean(client) - 1 / clients) < 4 * Math.sqrt(expectedVariance / classes), `mean ${mean(client)}`);
		}
		const all = shares.flat();
		const variance = mean(all.map(share => (share - 1 / clients) ** 2));
		t.true(Math.abs(variance / expectedVariance - 1) < 0.15, `variance ${variance}, expected ${expectedVariance}`);
	});
}

test('a Dirichlet division moves only the classes it divides', t => {
	const rows = rowsOf(600, 3);
	const how: Partition = {kind: 'dirichlet', alpha: 0.5, by: 'name'};
	const all = partition(rows, 4, how, 5);
	const withoutLast = partition(
		rows.filter((_, place) => place % 3 !== 2),
		4,
		how,
		5,
	);
	const sizesOf = (shards: number[][], classes: number, name: number) =>
		shards.map(shard => shard.filter(place => place % classes === name).length);
	t.deepEqual(sizesOf(withoutLast, 2, 0), sizesOf(all, 3, 0));
	t.deepEqual(sizesOf(withoutLast, 2, 1), sizesOf(all, 3, 1));
});

test('dividing by a slot that no row has names those there are', t => {
	const how: Partition = {kind: 'dirichlet', alpha: 1, by: 'colour'};
	const refusal = (message: RegExp) => ({instanceOf: CutlayerError, code: 'data-invalid', message});
	t.throws(() => partition(rowsOf(4, 2), 2, how, 1), refusal(/the slot `colour` to divide by, found only name, area/));
	t.throws(() => partition([{kind: 'text', source: '', target: 'x'}], 2, how, 1), refusal(/found rows without slots/));
	t.deepEqual(partition([], 2, how, 1), [[], []]);
	t.throws(() => partition([], 0, how, 1), {message: /at least one client/});
});
