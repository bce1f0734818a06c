/**
Where two runs part: for each actor the first record that is not the same in both, and of those the earliest.
Times, numbers of records and of messages are no difference; in real time neither are signs of life.
*/
import {createHash} from 'node:crypto';
import type {Command, InputRecord, TraceRecord} from './format.ts';
import {isOfActor, type Located, type Trace} from './trace.ts';

export type Parting = {
	readonly actor: string;
	/** In real time the stream of one kind of events of that actor, else all of them. */
	readonly channel: string;
	/** How many records were the same before. */
	readonly same: number;
	/** Nothing where a run has no more records. */
	readonly a: Located | undefined;
	readonly b: Located | undefined;
};

type Mark = {readonly stream: Located['stream']; readonly n: number; readonly t: number; readonly digest: string};
type Found = Pick<Parting, 'actor' | 'channel' | 'same'> & {readonly a: Mark | undefined; readonly b: Mark | undefined};

/** What waits in one channel for its counterpart; at most one of the two is not empty. */
type Channel = {same: number; a: Mark[]; b: Mark[]; isParted: boolean};

/** How often it is asked whether something earlier can still be found. */
const askInterval = 256;

/**
Compares in the order in which each actor lived when both ran in virtual time. In real time the order of messages from
different peers is chance: each actor's events of a type and a sender are compared among themselves.
*/
export async function firstParting(a: Trace, b: Trace): Promise<Parting | undefined> {
	const isOrdered = [a, b].every(trace => trace.streams.every(({header}) => header.clock === 'virtual'));
	const channels = new Map<string, Channel>();
	const [readA, readB] = [a.records(), b.records()];
	let earliest: Found | undefined;
	for (let count = 1; ; count++) {
		const [nextA, nextB] = [await readA.next(), await readB.next()];
		for (const [side, {value}] of [
			['a', nextA],
			['b', nextB],
		] as const) {
			const found = take(channels, side, value, isOrdered);
			if (found && (!earliest || timeOf(found) < timeOf(earliest))) earliest = found;
		}
		if (nextA.done && nextB.done) break;
		if (earliest && count % askInterval === 0 && !waitsBefore(channels, timeOf(earliest))) return partingOf(earliest);
	}
	const found = [...(earliest ? [earliest] : []), ...unmatched(channels)].toSorted(
		(one, two) => timeOf(one) - timeOf(two),
	)[0];
	return found && partingOf(found);
}

const timeOf = ({a, b}: Found): number => Math.min(a?.t ?? Number.POSITIVE_INFINITY, b?.t ?? Number.POSITIVE_INFINITY);

/** Whether a record from before a time may still turn out to have no counterpart: an actor that is gone in one of the runs. */
const waitsBefore = (channels: ReadonlyMap<string, Channel>, t: number): boolean =>
	[...channels.values()].some(({a, b}) => ((a[0] ?? b[0])?.t ?? t) < t);

async function partingOf({a, b, ...found}: Found): Promise<Parting> {
	return {...found, a: a && (await located(a)), b: b && (await located(b))};
}

async function located({stream, n}: Mark): Promise<Located | undefined> {
	const record = await stream.record(n);
	return record && {stream, record};
}

function take(
	channels: Map<string, Channel>,
	side: 'a' | 'b',
	next: Located | undefined,
	isOrdered: boolean,
): Found | undefined {
	const name = next && channelOf(next.record, isOrdered);
	if (!next || name === undefined) return undefined;
	const channel = channels.get(name) ?? {same: 0, a: [], b: [], isParted: false};
	channels.set(name, channel);
	if (channel.isParted) return undefined;
	const {stream, record} = next;
	const mark: Mark = {stream, n: record.n, t: record.t, digest: digestOf(record, isOrdered)};
	const other = channel[side === 'a' ? 'b' : 'a'].shift();
	if (!other) {
		channel[side].push(mark);
		return undefined;
	}
	channel.same++;
	if (other.digest === mark.digest) return undefined;
	// What comes later there says nothing more.
	channels.set(name, {...channel, a: [], b: [], isParted: true});
	const [one, two] = side === 'a' ? [mark, other] : [other, mark];
	return {...described(name), same: channel.same - 1, a: one, b: two};
}

/** Of each channel the first record that one run has and the other has not. */
const unmatched = (channels: ReadonlyMap<string, Channel>): Found[] =>
	[...channels].flatMap(([name, {same, a, b}]) =>
		a.length + b.length === 0 ? [] : [{...described(name), same, a: a[0], b: b[0]}],
	);

const described = (name: string) => {
	const [actor, channel] = name.split(' ', 2) as [string, string];
	return {actor, channel};
};

function channelOf(record: TraceRecord, isOrdered: boolean): string | undefined {
	if (!isOfActor(record)) return undefined;
	if (isOrdered) return `${record.actor} all`;
	if (record.kind !== 'input') return `${record.actor} ${record.kind}`;
	const {type, from = ''} = record.event;
	return type === 'heartbeat' || type.startsWith('xstate.after.') ? undefined : `${record.actor} ${type}/${from}`;
}

/** A short name for what both runs must agree on. */
function digestOf(record: TraceRecord, isOrdered: boolean): string {
	const content = isOrdered ? orderedContent(record) : contentOf(record);
	return createHash('sha256').update(JSON.stringify(content)).digest('hex').slice(0, 32);
}

function orderedContent({n: _, t: __, ...content}: TraceRecord): unknown {
	// Which record caused it is another number of a record.
	const {by: ___, ...kept} = content as {readonly by?: number};
	return kept;
}

/** What came in; in real time what followed depends on what else had come. */
function contentOf(record: TraceRecord): unknown {
	if (record.kind === 'started') return [record.role, record.incarnation, record.input];
	if (record.kind === 'dropped') return [record.from, record.code, record.field];
	if (record.kind !== 'input') return record.kind === 'ended' ? record.failure : record.kind;
	return [withoutPlace(record.event), tensorsOf(record)];
}

/** Digests without the handles, whose numbers depend on what came before. */
const tensorsOf = ({tensors = {}}: InputRecord | Extract<Command, {send: string}>): unknown => Object.values(tensors);

function withoutPlace(value: unknown): unknown {
	if (Array.isArray(value)) return value.map(withoutPlace);
	if (typeof value !== 'object' || value === null) return value;
	const kept = Object.entries(value).filter(
		([name]) => !['handle', 'timeMs', 'atMs', 'bytesUp', 'bytesDown'].includes(name),
	);
	return Object.fromEntries(kept.map(([name, inner]) => [name, withoutPlace(inner)]));
}
