/**
Who takes part in a simulated run: the scenario's section `fleet`, a named profile with differences by client. Speeds and
links in their usual units; `runtime/sim/devices.ts` says what each profile stands for and where its numbers come from.
*/
import Type, {type Static, type TSchema} from 'typebox';

const section = <P extends Record<string, TSchema>>(properties: P, options: {default?: unknown} = {}) =>
	Type.Object(properties, {additionalProperties: false, ...options});
export const client = Type.String({pattern: '^[a-z0-9-]{1,64}$', description: 'a client: c0, c1, ...'});
export const time = (standard?: number) =>
	Type.Number({minimum: 0, maximum: 1e12, ...(standard !== undefined && {default: standard})});
const positive = Type.Number({exclusiveMinimum: 0, maximum: 1e18});

export const profiles = ['ideal', 'edge-lab', 'lognormal-0.6', 'two-speed', 'pareto-1', 'diurnal', 'flaky'] as const;
/** A named profile, or `trace:<csv>` with who was here at what speed. */
export type FleetProfile = (typeof profiles)[number] | `trace:${string}`;

const device = {
	flopsPerSecond: Type.Optional(positive),
	overheadMs: Type.Optional(time()),
	upMbps: Type.Optional(positive),
	downMbps: Type.Optional(positive),
	latencyMs: Type.Optional(time()),
	paretoMs: Type.Optional(time()),
};

/** From `atMs` until the next entry the client has `speed` times its device's speed; 0 = it is away. The last entry lasts. */
const timeline = Type.Array(section({atMs: time(), speed: Type.Number({minimum: 0, maximum: 1e6})}), {minItems: 1});
export type Timeline = Static<typeof timeline>;

const profile = Type.Unsafe<FleetProfile>(
	Type.Union(
		[
			...profiles.map(name => Type.Literal(name)),
			Type.String({pattern: '^trace:.+', description: 'trace:<csv with client,fromMs,toMs,speed>'}),
		],
		{default: 'edge-lab'},
	),
);

export const fleetSchema = section(
	{
		profile,
		/** The length of a day of `diurnal`, ms; shorter days show a whole one in a short run. */
		dayMs: Type.Number({exclusiveMinimum: 0, maximum: 1e12, default: 86_400_000}),
		/** Differences from the profile, by client id. */
		clients: Type.Record(client, section(device), {default: {}}),
		/** Differences from the profile, of both servers. */
		servers: section(device, {default: {}}),
		/** Speed and presence over time, by client id; `trace:<csv>` fills it in. */
		timelines: Type.Record(client, timeline, {default: {}}),
	},
	{default: {}},
);
export type Fleet = Static<typeof fleetSchema>;

type Situation = {readonly clients: number; readonly fleet: Fleet};
type Problem = {readonly path: string; readonly problem: string};

/** The first contradiction of the timelines: its path and what is wrong with it. */
export function timelineProblem({clients, fleet}: Situation): Problem | undefined {
	for (const [id, entries] of Object.entries(fleet.timelines)) {
		const path = `fleet.timelines.${id}`;
		if (entries[0]!.atMs !== 0)
			return {path: `${path}.0.atMs`, problem: `expected 0, the begin of the run, got ${entries[0]!.atMs}`};
		for (const [index, {atMs}] of entries.entries()) {
			const before = entries[index - 1]?.atMs ?? -1;
			if (atMs <= before)
				return {path: `${path}.${index}.atMs`, problem: `expected after ${before}, got ${atMs}; put them in order`};
		}
	}
	if (!fleet.profile.startsWith('trace:')) return undefined;
	const missing = Array.from({length: clients}, (_, index) => `c${index}`).find(id => !fleet.timelines[id]);
	return missing === undefined
		? undefined
		: {
				path: 'fleet.profile',
				problem: `no rows for client \`${missing}\` in ${fleet.profile.slice(6)}; add some or lower clients`,
			};
}
