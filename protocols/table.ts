/**
Tables that machines keep of their peers: plain JSON of which a changed copy shares nearly all with the one before, so that neither
a step nor its record in a trace costs more in a larger fleet. Pure.
*/

type Bucket<V> = Readonly<Record<string, V>>;
type Shelf<V> = Readonly<Record<string, Bucket<V>>>;

/** Values by key, in 256 buckets (16 shelves of 16) by a hash of the key; read it through the functions below. */
export type Table<V> = {readonly size: number; readonly shelves: Readonly<Record<string, Shelf<V>>>};

export const emptyTable: Table<never> = {size: 0, shelves: {}};

const own = <V>(object: Readonly<Record<string, V>> | undefined, key: string): V | undefined =>
	object !== undefined && Object.hasOwn(object, key) ? object[key] : undefined;

/** Where a key lies: FNV-1a of its UTF-16 units, folded to two hexadecimal digits. */
function placeOf(key: string): readonly [string, string] {
	let hash = 0x811c9dc5;
	for (let at = 0; at < key.length; at++) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193);
	hash ^= (hash >>> 16) ^ (hash >>> 8);
	return [digits[(hash >>> 4) & 15]!, digits[hash & 15]!];
}

const digits = '0123456789abcdef';

/** The value of a key. */
export function entryOf<V>({shelves}: Table<V>, key: string): V | undefined {
	const [shelf, bucket] = placeOf(key);
	return own(own(own(shelves, shelf), bucket), key);
}

/** The table with a value put in or replaced. */
export function withEntry<V>({size, shelves}: Table<V>, key: string, value: V): Table<V> {
	const [shelf, bucket] = placeOf(key);
	const values = own(own(shelves, shelf), bucket);
	const isNew = values === undefined || !Object.hasOwn(values, key);
	return {
		size: isNew ? size + 1 : size,
		shelves: {...shelves, [shelf]: {...shelves[shelf], [bucket]: {...values, [key]: value}}},
	};
}

/** The table without a key; the same one when it has no such key. */
export function withoutEntry<V>(table: Table<V>, key: string): Table<V> {
	if (entryOf(table, key) === undefined) return table;
	const {size, shelves} = table;
	const [shelf, bucket] = placeOf(key);
	const {[key]: _, ...values} = shelves[shelf]![bucket]!;
	return {size: size - 1, shelves: {...shelves, [shelf]: {...shelves[shelf], [bucket]: values}}};
}

export const withoutEntries = <V>(table: Table<V>, keys: readonly string[]): Table<V> =>
	keys.reduce((left, key) => withoutEntry(left, key), table);

/** All entries in order of their keys, whatever order they came in. */
export function entriesOf<V>({shelves}: Table<V>): [string, V][] {
	const entries = Object.values(shelves).flatMap(shelf =>
		Object.values(shelf).flatMap(values => Object.entries(values)),
	);
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
	shelves: mapValues(shelves, shelf => mapValues(shelf, values => mapValues(values, map))),
});

const mapValues = <V, W>(object: Readonly<Record<string, V>>, map: (value: V, key: string) => W): Record<string, W> =>
	Object.fromEntries(Object.entries(object).map(([key, value]) => [key, map(value, key)]));
