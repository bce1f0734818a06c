/**
The rules of the trace-event format, checked on the events of a file: what a viewer needs to draw them.
*/

export type TraceEvent = {
	ph: string;
	name: string;
	pid: number;
	tid: number;
	ts: number;
	dur: number;
	id?: string;
	bp?: string;
	cat?: string;
	args?: Record<string, unknown>;
};

const phases = ['X', 'B', 'E', 'M', 's', 'f', 'C', 'b', 'e'];
const isWhole = (value: unknown) => Number.isSafeInteger(value) && Number(value) >= 0;
const trackOf = ({pid, tid}: TraceEvent) => `${pid}/${tid}`;

/** Every breach of a rule, in words; none for a file that opens. */
export function breachesOf(events: readonly TraceEvent[]): string[] {
	return [
		...events.flatMap(memberBreaches),
		...nameBreaches(events),
		...pairBreaches(events, 'B', 'E', trackOf),
		...pairBreaches(events, 'b', 'e', ({cat, id, name, pid}) => `${pid} ${cat} ${id} ${name}`),
		...flowBreaches(events),
		...counterBreaches(events),
		...[...grouped(events.filter(({ph}) => ph === 'X')).values()].flatMap(nestingBreaches),
	];
}

function memberBreaches({ph, name, pid, tid, ts, dur, id, args}: TraceEvent): string[] {
	const said = `${ph} ${name}`;
	return [
		...(phases.includes(ph) ? [] : [`${said}: a phase that is unknown`]),
		...(typeof name === 'string' && name.length > 0 ? [] : [`${said}: no name`]),
		...(isWhole(pid) && isWhole(tid) ? [] : [`${said}: pid ${pid}, tid ${tid}`]),
		...(ph === 'M' || isWhole(ts) ? [] : [`${said}: ts ${ts}`]),
		...(ph !== 'X' || isWhole(dur) ? [] : [`${said}: dur ${dur}`]),
		...(!['s', 'f', 'b', 'e'].includes(ph) || typeof id === 'string' ? [] : [`${said}: no id`]),
		...(ph !== 'M' || typeof args?.name === 'string' ? [] : [`${said}: names nothing`]),
	];
}

/** Processes and threads are named, each once. */
function nameBreaches(events: readonly TraceEvent[]): string[] {
	const named = events.filter(({ph}) => ph === 'M');
	const keys = named.map(event => (event.name === 'process_name' ? `${event.pid}` : trackOf(event)));
	const twice = keys.filter((key, index) => keys.indexOf(key) !== index).map(key => `${key} is named twice`);
	const used = new Set(events.filter(({ph}) => ph !== 'M').flatMap(event => [`${event.pid}`, trackOf(event)]));
	return [...twice, ...[...used].filter(key => !keys.includes(key)).map(key => `${key} has no name`)];
}

/** What begins ends, not before it began. */
function pairBreaches(
	events: readonly TraceEvent[],
	begin: string,
	end: string,
	keyOf: (event: TraceEvent) => string,
): string[] {
	const open = new Map<string, TraceEvent[]>();
	const breaches: string[] = [];
	for (const event of events) {
		if (event.ph !== begin && event.ph !== end) continue;
		const begun = open.get(keyOf(event)) ?? [];
		open.set(keyOf(event), begun);
		if (event.ph === begin) begun.push(event);
		else {
			const before = begun.pop();
			if (!before) breaches.push(`${event.name} ends and never began`);
			else if (event.ts < before.ts) breaches.push(`${event.name} ends before it begins`);
		}
	}
	return [...breaches, ...[...open].filter(([, left]) => left.length > 0).map(([key]) => `${key} never ends`)];
}

/** An arrow has one start and one finish, forward in time, each at a slice of its track. */
function flowBreaches(events: readonly TraceEvent[]): string[] {
	const slices = grouped(events.filter(({ph}) => ph === 'X'));
	const keyOf = ({cat, id, name}: TraceEvent) => `${cat} ${id} ${name}`;
	const [starts, ends] = ['s', 'f'].map(
		ph => new Map(events.filter(one => one.ph === ph).map(one => [keyOf(one), one])),
	);
	const arrows = events.filter(({ph}) => ph === 's' || ph === 'f');
	return [
		...(starts!.size + ends!.size === arrows.length ? [] : ['two arrows have one id']),
		...[...starts!.keys()].filter(key => !ends!.has(key)).map(key => `${key} starts and never finishes`),
		...[...ends!].flatMap(([key, end]) => {
			const start = starts!.get(key);
			return start && start.ts <= end.ts && end.bp === 'e' ? [] : [`${key} finishes without a start before it`];
		}),
		...arrows
			.filter(arrow => !slices.get(trackOf(arrow))?.some(({ts, dur}) => ts <= arrow.ts && arrow.ts <= ts + dur))
			.map(arrow => `${keyOf(arrow)} is at no slice`),
	];
}

/** A counter has numbers, in order of time, and a sum of bytes never falls. */
function counterBreaches(events: readonly TraceEvent[]): string[] {
	const last = new Map<string, {ts: number; bytes: number}>();
	return events.flatMap(({ph, pid, name, ts, args = {}}) => {
		if (ph !== 'C') return [];
		const values = Object.values(args);
		const {bytes = 0} = args as {bytes?: number};
		const before = last.get(`${pid} ${name}`);
		last.set(`${pid} ${name}`, {ts, bytes});
		const isOrdered = !before || (before.ts <= ts && before.bytes <= bytes);
		return values.length > 0 && values.every(Number.isFinite) && isOrdered
			? []
			: [`${name} at ${ts} goes back or is none`];
	});
}

/** Slices of one track lie inside each other or apart. */
function nestingBreaches(slices: readonly TraceEvent[]): string[] {
	const open: number[] = [];
	return slices
		.toSorted((a, b) => a.ts - b.ts || b.dur - a.dur)
		.flatMap(({ts, dur, name}) => {
			while (open.length > 0 && open.at(-1)! <= ts) open.pop();
			const fits = open.length === 0 || ts + dur <= open.at(-1)!;
			open.push(ts + dur);
			return fits ? [] : [`${name} at ${ts} overlaps another slice`];
		});
}

function grouped(events: readonly TraceEvent[]): Map<string, TraceEvent[]> {
	const groups = new Map<string, TraceEvent[]>();
	for (const event of events) groups.set(trackOf(event), [...(groups.get(trackOf(event)) ?? []), event]);
	return groups;
}
