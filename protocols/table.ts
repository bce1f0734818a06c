/**
Tables that machines keep of their peers: plain JSON of which a changed copy shares nearly all with the one before, so that neither
a step nor its record in a trace costs more in a larger fleet. Pure.
*/

type Entry<V> = readonly [key: string, value: V];
type Bucket<V> = readonly Entry<V>[];
type Shelf<V> = Readonly<Record<string, Readonly<Record<string, Bucket<V>>>>>;

/**
Values by key, in 4,096 buckets on 16 shelves of 16 boards of 16 by a hash of the key; read it through the functions below. Places have
letters and buckets are lists because engines copy such objects ten times faster than ones with keys of digits or of many names.
*/
export type Table<V> = {readonly size: number; readonly shelves: Readonly<Record<string, Shelf<V>>>};

export const emptyTable: Table<never> = {size: 0, shelves: {}};

const letters = 'abcdefghijklmnop';

/** FNV-1a of the key's UTF-16 units, folded. */
function hashOf(key: string): number {
	let hash = 0x811c9dc5;
	for (let at = 0; at < key.length; at++) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193);
	return hash ^ (hash >>> 16) ^ (hash >>> 8);
}

const shelfOf = (hash: number) => letters[(hash >>> 8) & 15]!;
const boardOf = (hash: number) => letters[(hash >>> 4) & 15]!;
const placeOf = (hash: number) => letters[hash & 15]!;

const bucketOf = <V>({shelves}: Table<V>, hash: number): Bucket<V> | undefined =>
	shelves[shelfOf(hash)]?.[boardOf(hash)]?.[placeOf(hash)];

function indexIn<V>(bucket: Bucket<V>, key: string): number {
	for (let index = 0; index < bucket.length; index++) if (bucket[index]![0] === key) return index;
	return -1;
}

function withBucket<V>({shelves}: Table<V>, hash: number, size: number, bucket: Bucket<V>): Table<V> {
	const shelf = shelfOf(hash);
	const board = boardOf(hash);
	const boards = shelves[shelf];
	return {
		size,
		shelves: {...shelves, [shelf]: {...boards, [board]: {...boards?.[board], [placeOf(hash)]: bucket}}},
	};
}

/** The value of a key. */
export function entryOf<V>(table: Table<V>, key: string): V | undefined {
	const bucket = bucketOf(table, hashOf(key));
	if (bucket) for (const entry of bucket) if (entry[0] === key) return entry[1];
	return undefined;
}

/** The table with a value put in or replaced. */
export function withEntry<V>(table: Table<V>, key: string, value: V): Table<V> {
	const hash = hashOf(key);
	const bucket = bucketOf(table, hash) ?? [];
	const index = indexIn(bucket, key);
	const copy = bucket.slice();
	copy[index === -1 ? bucket.length : index] = [key, value];
	return withBucket(table, hash, index === -1 ? table.size + 1 : table.size, copy);
}

/** The table without a key; the same one when it has no such key. */
export function withoutEntry<V>(table: Table<V>, key: string): Table<V> {
	const hash = hashOf(key);
	const bucket = bucketOf(table, hash) ?? [];
	const index = indexIn(bucket, key);
	return index === -1 ? table : withBucket(table, hash, table.size - 1, bucket.toSpliced(index, 1));
}

export const withoutEntries = <V>(table: Table<V>, keys: readonly string[]): Table<V> =>
	keys.reduce((left, key) => withoutEntry(left, key), table);

/** All entries in order of their keys, whatever order they came in. */
export function entriesOf<V>({shelves}: Table<V>): [string, V][] {
	const entries: [string, V][] = [];
	for (const shelf of Object.values(shelves)) {
		for (const board of Object.values(shelf)) {
			for (const bucket of Object.values(board)) for (const [key, value] of bucket) entries.push([key, value]);
		}
	}
	return entries.sort(([a], [b]) => (a < b ? -1 : 1));
}

export const keysOf = <V>(table: Table<V>): string[] => entriesOf(table).map(([key]) => key);

export const valuesOf = <V>(table: Table<V>): V[] => entriesOf(table).map(([, value]) => value);

export const tableOf = <V>(entries: Iterable<readonly [string, V]>): Table<V> => {
	let table: Table<V> = emptyTable;
	for (const [key, value] of entries) table = withEntry(table, key, value);
	return table;
};

/** The table with every value mapped; the structure stays. */
export const mapTable = <V, W>({size, shelves}: Table<V>, map: (value: V, key: string) => W): Table<W> => ({
	size,
	shelves: mapValues(shelves, shelf =>
		mapValues(shelf, board =>
			mapValues(board, bucket => bucket.map(([key, value]): Entry<W> => [key, map(value, key)])),
		),
	),
});

const mapValues = <V, W>(object: Readonly<Record<string, V>>, map: (value: V, key: string) => W): Record<string, W> =>
	Object.fromEntries(Object.entries(object).map(([key, value]) => [key, map(value, key)]));
