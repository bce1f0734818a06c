/**
What each actor may say and hear at a broker with users: the subjects of NATS permissions. Pure.
*/
import {CutlayerError} from './errors.ts';
import {messageRoutes, type Verb} from './messages.ts';
import {anyRun, conductorId} from './run-messages.ts';
import {checkId, isId, kindOf, type SenderKind} from './subjects.ts';

/** Whom credentials are made for. `run` holds a whole run in one process; `probe` is an observer that also sees tensors. */
export const brokerRoles = [
	'run',
	'fed-server',
	'main-server',
	'client',
	'evaluator',
	'observer',
	'probe',
	'conductor',
] as const;
export type BrokerRole = (typeof brokerRoles)[number];

/** Subjects as NATS patterns; what is denied is denied although it is allowed. */
export type Permissions = {
	readonly publish: readonly string[];
	readonly subscribe: readonly string[];
	readonly deny: readonly string[];
};

const root = 'cutlayer.v1';

/** Where what only two are to see passes by; a chunk of it has the same subject. */
const privateTensors = [
	'client.*.activations.*',
	'client.*.upload.*',
	'main-server.*.gradient.*',
	'main-server.*.shared-blocks.*',
	'main-server.*.server-adapter',
];

/** Which kinds each kind hears. */
const hears: Record<Exclude<BrokerRole, 'run' | 'observer' | 'probe'>, readonly SenderKind[]> = {
	client: ['fed-server', 'main-server', 'conductor'],
	'main-server': ['client', 'fed-server', 'conductor'],
	'fed-server': ['client', 'main-server', 'observer', 'evaluator', 'conductor'],
	evaluator: ['fed-server', 'main-server', 'conductor'],
	conductor: ['conductor'],
};

/** What a kind says to all, as far as this role may hear it: the main server's adapter is for evaluators. */
const broadcastsOf = (kind: SenderKind, role: string | undefined): readonly Verb[] =>
	(Object.keys(messageRoutes) as Verb[]).filter(verb => {
		const {from, reach} = messageRoutes[verb];
		return from.includes(kind) && reach !== 'one' && !(role === 'client' && verb === 'server-adapter');
	});

/**
The patterns by which a connection with permissions hears what a pattern for all broadcasts of a kind stands for; any other is
as it was. Permissions name verbs: a server lets who may subscribe to `a.*` subscribe to `a.>` as well, and hear more.
*/
export function narrowed(pattern: string, role: string | undefined): readonly string[] {
	const tokens = pattern.split('.');
	const kind = kindOf(tokens[3]);
	if (tokens.length !== 6 || tokens[5] !== '*' || kind === undefined) return [pattern];
	const stem = tokens.slice(0, 5).join('.');
	return broadcastsOf(kind, role).map(verb => `${stem}.${verb}`);
}

/**
The permissions of an actor in one run, or in every run of the broker when none is named. Throws `usage` for what is no id.
*/
export function permissionsOf(role: BrokerRole, id: string, run?: string): Permissions {
	checkId(id);
	const runs = run === undefined ? ['*'] : [checkId(run, 'run id'), anyRun];
	const inRuns = (tails: readonly string[]) => runs.flatMap(one => tails.map(tail => `${root}.${one}.${tail}`));
	if (role === 'run') {
		const own = inRuns(['>']);
		// Streams of the broker are asked for by requests, whose answers come to an inbox.
		return {publish: [...own, '$JS.API.>'], subscribe: [...own, '_INBOX.>'], deny: []};
	}
	if (role === 'observer' || role === 'probe') {
		const deny = role === 'observer' ? inRuns(privateTensors) : [];
		const reports = role === 'probe' ? [`observer.${id}.report`] : [];
		return {publish: inRuns([`observer.${id}.ask-runs`, ...reports]), subscribe: inRuns(['>']), deny};
	}
	const heard = hears[role].flatMap(kind => [
		...broadcastsOf(kind, role).map(verb => `${kind}.*.${verb}`),
		`${kind}.*.*.${id}`,
	]);
	if (role !== 'fed-server') return {publish: inRuns([`${role}.${id}.>`]), subscribe: inRuns(heard), deny: []};
	return {
		// Its process is the run's conductor and recorder, and asks as an observer whether the run is there already.
		publish: inRuns([`fed-server.${id}.>`, `conductor.${conductorId}.>`, `observer.${id}.ask-runs`]),
		subscribe: inRuns([...heard, `*.*.control.${conductorId}`, '*.*.ask-runs', '*.*.report', 'fed-server.*.welcome.*']),
		deny: [],
	};
}

/** An actor as a user names it, such as `client:kim`. Throws `usage`. */
export function actorOf(text: string): {readonly role: BrokerRole; readonly id: string} {
	const [role = '', id = role] = text.split(':');
	if ((brokerRoles as readonly string[]).includes(role) && isId(id)) return {role: role as BrokerRole, id};
	throw new CutlayerError(
		'usage',
		`Expected an actor such as client:kim with one of ${brokerRoles.join(', ')}, found ${JSON.stringify(text.slice(0, 80))}`,
	);
}
