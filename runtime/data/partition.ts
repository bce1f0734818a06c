/**
Divides rows among clients. Every row goes to exactly one client, and equal arguments give equal shards.
*/
import {CutlayerError} from '../../protocols/errors.ts';
import {type RandomStream, randomStream} from '../random.ts';
import {attributesOf, type Row} from './row.ts';

/**
`iid`: equal shares of shuffled rows. `dirichlet`: for each value of a slot of the meaning, shares of its rows drawn from a
symmetric Dirichlet distribution (arXiv 1909.06335); smaller alpha is more unequal. `length`: the first client has the shortest
rows, the last the longest. `quantity-skew`: shuffled rows in log-normal shares.
*/
export type Partition =
	| {readonly kind: 'iid'}
	| {readonly kind: 'dirichlet'; readonly alpha: number; readonly by: string}
	| {readonly kind: 'length'}
	| {readonly kind: 'quantity-skew'; readonly sigma: number};

/**
The places of each client's rows, ascending; a client may get none.
Throws `data-invalid` when no row has the slot to divide by.
*/
export function partition(rows: readonly Row[], clients: number, how: Partition, seed: number): number[][] {
	if (!Number.isInteger(clients) || clients < 1) throw new Error(`Rows go to at least one client, not to ${clients}`);
	const stream = (...key: (string | number)[]) => randomStream(seed, 'partition', how.kind, ...key);
	return shardsOf(rows, clients, how, stream).map(shard => shard.sort((a, b) => a - b));
}

type Stream = (...key: (string | number)[]) => RandomStream;

function shardsOf(rows: readonly Row[], clients: number, how: Partition, stream: Stream): number[][] {
	const places = rows.map((_, place) => place);
	const equal = new Array<number>(clients).fill(1 / clients);
	switch (how.kind) {
		case 'iid':
			return cut(stream('rows').shuffle(places), equal);
		case 'length':
			return cut(
				places.sort((a, b) => lengthOf(rows[a]!) - lengthOf(rows[b]!) || a - b),
				equal,
			);
		case 'quantity-skew': {
			const sizes = stream('sizes');
			const shares = equal.map(() => Math.exp(how.sigma * sizes.normal()));
			return cut(stream('rows').shuffle(places), shares);
		}
		case 'dirichlet': {
			const shards: number[][] = equal.map(() => []);
			for (const [value, members] of classesOf(rows, how.by)) {
				const shares = dirichlet(clients, how.alpha, stream('shares', value));
				const parts = cut(stream('rows', value).shuffle(members), shares);
				for (const [client, part] of parts.entries()) {
					for (const place of part) shards[client]!.push(place);
				}
			}
			return shards;
		}
	}
}

const lengthOf = ({source, target}: Row) => source.length + target.length;

/** Cuts the items into consecutive parts whose sizes follow the shares; rounding never loses an item. */
function cut<T>(items: readonly T[], shares: readonly number[]): T[][] {
	const total = shares.reduce((sum, share) => sum + share, 0);
	let reached = 0;
	return shares.map((share, index) => {
		const from = Math.round((reached / total) * items.length);
		reached += share;
		const to = index === shares.length - 1 ? items.length : Math.round((reached / total) * items.length);
		return items.slice(from, to);
	});
}

/** The places of rows by their value of a slot, in order of first appearance; rows without the slot are a class of their own. */
function classesOf(rows: readonly Row[], slot: string): Map<string, number[]> {
	const classes = new Map<string, number[]>();
	const slots = new Set<string>();
	for (const [place, row] of rows.entries()) {
		const attributes = row.kind === 'meaning' ? attributesOf(row.source) : {};
		for (const name of Object.keys(attributes)) slots.add(name);
		const value = attributes[slot] ?? '';
		const members = classes.get(value);
		if (members) members.push(place);
		else classes.set(value, [place]);
	}
	if (rows.length === 0 || slots.has(slot)) return classes;
	throw new CutlayerError(
		'data-invalid',
		`Expected rows with the slot \`${slot}\` to divide by, found ${slots.size > 0 ? `only ${[...slots].join(', ')}` : 'rows without slots'}; name another slot in data.partition.by, or choose iid`,
	);
}

/** Shares that sum to 1. Logarithms of gamma values, because with a small alpha all of them can be too small for a float. */
function dirichlet(count: number, alpha: number, random: RandomStream): number[] {
	const logs = Array.from({length: count}, () => logGamma(alpha, random));
	const most = Math.max(...logs);
	const shares = logs.map(log => Math.exp(log - most));
	const total = shares.reduce((sum, share) => sum + share, 0);
	return shares.map(share => share / total);
}

/** The logarithm of a Gamma(alpha, 1) value: Marsaglia and Tsang 2000, with their boost for alpha below 1. */
function logGamma(alpha: number, random: RandomStream): number {
	if (alpha < 1) return logGamma(alpha + 1, random) + Math.log(1 - random.float()) / alpha;
	const d = alpha - 1 / 3;
	const c = 1 / Math.sqrt(9 * d);
	for (;;) {
		const x = random.normal();
		const v = (1 + c * x) ** 3;
		if (v <= 0) continue;
		const u = 1 - random.float();
		if (Math.log(u) < 0.5 * x * x + d - d * v + d * Math.log(v)) return Math.log(d * v);
	}
}
