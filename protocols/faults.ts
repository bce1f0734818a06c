/**
What may go wrong in a simulated run: the scenario's section `faults`, and the first contradiction in it. Times are
milliseconds after the run's begin, durations milliseconds, rates shares from 0 to 1; ids are the clients' (`c0`, `c1`, ...).
*/
import Type, {type Static, type TSchema} from 'typebox';
import {client, type Fleet, time, timelineProblem} from './fleet.ts';

const section = <P extends Record<string, TSchema>>(properties: P) =>
	Type.Object(properties, {additionalProperties: false});
const duration = (standard: number) => Type.Number({exclusiveMinimum: 0, maximum: 1e12, default: standard});
const rate = Type.Number({minimum: 0, maximum: 1});
const isAnnounced = Type.Boolean({default: false});

const window = {fromMs: time(0), toMs: Type.Optional(time())};

export const faultSchema = Type.Union([
	section({
		kind: Type.Literal('straggle'),
		client: Type.Optional(client),
		factor: Type.Number({minimum: 1, maximum: 1e6}),
		...window,
	}),
	section({
		kind: Type.Literal('spike'),
		client,
		atMs: time(),
		delayMs: Type.Number({exclusiveMinimum: 0, maximum: 1e12}),
	}),
	section({kind: Type.Literal('dropout'), client, atMs: time(), isAnnounced}),
	section({kind: Type.Literal('crash'), client, atMs: time(), returnMs: time()}),
	section({kind: Type.Literal('late-join'), client, atMs: time()}),
	/** Comes and goes: here for `hereMs`, away for `awayMs`, again and again within the window. */
	section({
		kind: Type.Literal('flap'),
		client,
		hereMs: duration(3000),
		awayMs: duration(3000),
		isAnnounced,
		...window,
	}),
	/** Drops out of a round with this chance, within a second of its opening, and is back after `awayMs`. */
	section({
		kind: Type.Literal('flaky'),
		client: Type.Optional(client),
		rate,
		awayMs: duration(10_000),
		isAnnounced,
		...window,
	}),
	/** Joins with no rows. */
	section({kind: Type.Literal('empty-shard'), client}),
	section({kind: Type.Literal('partition'), clients: Type.Array(client, {minItems: 1}), fromMs: time(0), toMs: time()}),
	section({kind: Type.Literal('loss'), client: Type.Optional(client), rate, ...window}),
	/** What the client uploads from a round on is `factor` times its adapter: a mistake, or an attack. */
	section({
		kind: Type.Literal('scale-adapter'),
		client,
		factor: Type.Number({minimum: -1e6, maximum: 1e6}),
		fromRound: Type.Integer({minimum: 0, maximum: 1e9, default: 0}),
	}),
	section({kind: Type.Literal('duplication'), client: Type.Optional(client), rate, ...window}),
	/** A frame comes up to `delayMs` later than its turn, so that later ones overtake it. */
	section({kind: Type.Literal('reordering'), client: Type.Optional(client), rate, delayMs: duration(500), ...window}),
	/** A frame arrives cut to half its length. */
	section({kind: Type.Literal('corruption'), client: Type.Optional(client), rate, ...window}),
	/** Links stand still: what is on its way in the window arrives at its end. */
	section({kind: Type.Literal('clog'), clients: Type.Array(client, {minItems: 1}), fromMs: time(0), toMs: time()}),
	/** The broker is away: what it had not delivered is lost, what is sent meanwhile waits until it is back. */
	section({kind: Type.Literal('broker-restart'), atMs: time(), awayMs: duration(2000)}),
	/** The first activations, or the first adapter, that the client makes from then on hold a NaN. */
	section({
		kind: Type.Literal('non-finite'),
		client,
		atMs: time(0),
		tensor: Type.Unsafe<'activations' | 'adapter'>(
			Type.Union([Type.Literal('activations'), Type.Literal('adapter')], {default: 'activations'}),
		),
	}),
	/** From then on the disk takes no more of the trace. */
	section({kind: Type.Literal('disk-full'), atMs: time(0)}),
]);
export type Fault = Static<typeof faultSchema>;

type Situation = {
	readonly clients: number;
	readonly faults: readonly Fault[];
	readonly fleet: Fleet;
	/** Who joins from outside. */
	readonly attach?: readonly {readonly kind: string; readonly id: string}[];
};

/** The clients a fault names; none where it may strike any. */
const clientsOf = (fault: Fault): readonly string[] => {
	if ('clients' in fault) return fault.clients;
	return 'client' in fault && fault.client !== undefined ? [fault.client] : [];
};

/** The first contradiction: its path and what is wrong with it. */
export function faultProblem({
	clients,
	faults,
	fleet,
	attach = [],
}: Situation): {path: string; problem: string} | undefined {
	const attached = attach.flatMap(({kind, id}) => (kind === 'client' ? [id] : []));
	const isKnown = (id: string) =>
		attached.includes(id) || (/^c(0|[1-9]\d*)$/.test(id) && Number(id.slice(1)) < clients);
	const unknown = (id: string) => `no client \`${id}\`; this run has c0 to c${clients - 1}`;
	for (const section of ['clients', 'timelines'] as const) {
		const stranger = Object.keys(fleet[section]).find(id => !isKnown(id));
		if (stranger) return {path: `fleet.${section}.${stranger}`, problem: unknown(stranger)};
	}
	const odd = timelineProblem({clients, fleet});
	if (odd) return odd;
	for (const [index, fault] of faults.entries()) {
		const path = `faults.${index}`;
		const named = clientsOf(fault);
		const other = named.find(id => !isKnown(id));
		if (other) return {path: `${path}.${'clients' in fault ? 'clients' : 'client'}`, problem: unknown(other)};
		if ('toMs' in fault && fault.toMs !== undefined && fault.toMs <= fault.fromMs)
			return {path: `${path}.toMs`, problem: `expected after fromMs ${fault.fromMs}, got ${fault.toMs}`};
		if (fault.kind === 'crash' && fault.returnMs <= fault.atMs)
			return {path: `${path}.returnMs`, problem: `expected after atMs ${fault.atMs}, got ${fault.returnMs}`};
	}
	const late = new Set(faults.flatMap(fault => (fault.kind === 'late-join' ? [fault.client] : [])));
	if (late.size >= clients)
		return {path: 'faults', problem: 'every client joins late; leave out the late-join of at least one'};
	return undefined;
}
