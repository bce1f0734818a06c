import test from 'ava';
import fc from 'fast-check';
import {
	emptyTable,
	entriesOf,
	entryOf,
	mapTable,
	type Table,
	tableOf,
	withEntry,
	withoutEntry,
} from '../../protocols/table.ts';
import {patchOf} from '../../runtime/trace/patch.ts';

const key = fc.oneof(
	fc.stringMatching(/^[a-z0-9-]{1,6}$/),
	fc.constantFrom('constructor', 'hasownproperty', '0', '10'),
);
const edits = fc.array(fc.record({key, value: fc.option(fc.nat(), {nil: undefined})}), {maxLength: 60});

test('a table holds what a map holds after the same edits, in order of keys, and is plain JSON', t => {
	fc.assert(
		fc.property(edits, all => {
			const map = new Map<string, number>();
			let table: Table<number> = emptyTable;
			for (const {key, value} of all) {
				const before = JSON.stringify(table);
				const next: Table<number> = value === undefined ? withoutEntry(table, key) : withEntry(table, key, value);
				if (JSON.stringify(table) !== before) return false;
				table = next;
				if (value === undefined) map.delete(key);
				else map.set(key, value);
			}
			t.is(table.size, map.size);
			t.deepEqual(
				entriesOf(table),
				[...map].sort(([a], [b]) => (a < b ? -1 : 1)),
			);
			t.deepEqual(JSON.parse(JSON.stringify(table)), table);
			return [...map].every(([name, value]) => entryOf(table, name) === value);
		}),
	);
});

test('a mapped table has the same keys', t => {
	const table = mapTable(tableOf([['c0', 1] as const, ['c1', 2] as const]), value => 10 * value);
	t.deepEqual(entriesOf(table), [
		['c0', 10],
		['c1', 20],
	]);
	t.is(entryOf(table, 'c2'), undefined);
});

test('a change of one entry of ten thousand is one operation of a patch, and shares all other buckets', t => {
	const before = tableOf(Array.from({length: 10_000}, (_, index) => [`c${index}`, {index}] as const));
	const after = withEntry(before, 'c17', {index: -1});
	t.is(patchOf(before, after).length, 1);
	const buckets = (table: typeof before) =>
		new Set(Object.values(table.shelves).flatMap(shelf => Object.values(shelf).flatMap(board => Object.values(board))));
	const shared = [...buckets(after)].filter(bucket => buckets(before).has(bucket)).length;
	t.is(shared, buckets(before).size - 1);
	const fullest = Math.max(...[...buckets(before)].map(bucket => bucket.length));
	t.true(fullest < 20, `${fullest} of 10,000 keys in one bucket of 4,096`);
});
