/**
What may go wrong in a simulated run and who takes part in it: the scenario's sections `fleet` and `faults`. Times are virtual
milliseconds after the run's begin; ids are the clients' (`c0`, `c1`, ...).
*/
import Type, {type Static, type TSchema} from 'typebox';

const section = <P extends Record<string, TSchema>>(properties: P, options: {default?: unknown} = {}) =>
	Type.Object(properties, {additionalProperties: false, ...options});
const client = Type.String({pattern: '^[a-z0-9-]{1,64}$', description: 'a client: c0, c1, ...'});
const time = (standard?: number) =>
	Type.Number({minimum: 0, maximum: 1e12, ...(standard !== undefined && {default: standard})});
const positive = Type.Number({exclusiveMinimum: 0, maximum: 1e18});
const rate = Type.Number({minimum: 0, maximum: 1});

const window = {fromMs: time(0), toMs: Type.Optional(time())};

export const faultSchema = Type.Union([
	section({
		kind: Type.Literal('straggle'),
		client: Type.Optional(client),
		factor: Type.Number({minimum: 1, maximum: 1e6}),
		...window,
	}),
	section({kind: Type.Literal('spike'), client, atMs: time(), delayMs: positive}),
	section({kind: Type.Literal('dropout'), client, atMs: time(), isAnnounced: Type.Boolean({default: false})}),
	section({kind: Type.Literal('crash'), client, atMs: time(), returnMs: time()}),
	section({kind: Type.Literal('late-join'), client, atMs: time()}),
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
]);
export type Fault = Static<typeof faultSchema>;

const device = {
	flopsPerSecond: Type.Optional(positive),
	overheadMs: Type.Optional(time()),
	upMbps: Type.Optional(positive),
	downMbps: Type.Optional(positive),
	latencyMs: Type.Optional(time()),
	paretoMs: Type.Optional(time()),
};

export const fleetSchema = section(
	{
		profile: Type.Unsafe<'ideal' | 'edge-lab' | 'lognormal-0.6' | 'two-speed' | 'pareto-1'>(
			Type.Union(
				['ideal', 'edge-lab', 'lognormal-0.6', 'two-speed', 'pareto-1'].map(name => Type.Literal(name)),
				{default: 'edge-lab'},
			),
		),
		/** Differences from the profile, by client id. */
		clients: Type.Record(client, section(device), {default: {}}),
		/** Differences from the profile, of both servers. */
		servers: section(device, {default: {}}),
	},
	{default: {}},
);
export type Fleet = Static<typeof fleetSchema>;
export type DeviceChange = Fleet['servers'];

type Situation = {readonly clients: number; readonly faults: readonly Fault[]; readonly fleet: Fleet};

/** The first contradiction: its path and what is wrong with it. */
export function faultProblem({clients, faults, fleet}: Situation): {path: string; problem: string} | undefined {
	const isKnown = (id: string) => /^c(0|[1-9]\d*)$/.test(id) && Number(id.slice(1)) < clients;
	const unknown = (id: string) => `no client \`${id}\`; this run has c0 to c${clients - 1}`;
	const stranger = Object.keys(fleet.clients).find(id => !isKnown(id));
	if (stranger) return {path: `fleet.clients.${stranger}`, problem: unknown(stranger)};
	for (const [index, fault] of faults.entries()) {
		const path = `faults.${index}`;
		const named = 'clients' in fault ? fault.clients : fault.client === undefined ? [] : [fault.client];
		const other = named.find(id => !isKnown(id));
		if (other) return {path: `${path}.client`, problem: unknown(other)};
		if ('toMs' in fault && fault.toMs !== undefined && fault.toMs <= fault.fromMs)
			return {path: `${path}.toMs`, problem: `expected after fromMs ${fault.fromMs}, got ${fault.toMs}`};
		if (fault.kind === 'crash' && fault.returnMs <= fault.atMs)
			return {path: `${path}.returnMs`, problem: `expected after atMs ${fault.atMs}, got ${fault.returnMs}`};
	}
	if (faults.filter(({kind}) => kind === 'late-join').length >= clients)
		return {path: 'faults', problem: 'every client joins late; leave out the late-join of at least one'};
	return undefined;
}
