/**
Every subject of the protocol, tried by every role against a real server: what each may say and hear is compared with the rule
in words, not with the table that made the configuration.
*/
import {messageRoutes} from '../../protocols/messages.ts';
import type {BrokerRole} from '../../protocols/permissions.ts';
import type {Frame} from '../../protocols/ports.ts';
import {parseSubject, type Subject, subjectOf} from '../../protocols/subjects.ts';
import {startBroker} from '../../runtime/bus/broker.ts';
import {newUser, usersConfig} from '../../runtime/bus/broker-config.ts';
import {BrokerCredentials} from '../../runtime/bus/credentials.ts';
import {connectNats, type NatsBus} from '../../runtime/bus/nats.ts';
import {findBroker} from '../../runtime/setup/find-broker.ts';
import {testWith} from '../_helpers/optional.ts';

const binary = findBroker()?.binary;

const actors = [
	{role: 'client', id: 'c0'},
	{role: 'client', id: 'c1'},
	{role: 'main-server', id: 'main'},
	{role: 'fed-server', id: 'fed'},
	{role: 'evaluator', id: 'evaluator'},
	{role: 'observer', id: 'observer'},
	{role: 'probe', id: 'spy'},
	{role: 'conductor', id: 'ctl'},
] as const satisfies readonly {role: BrokerRole; id: string}[];
type Actor = (typeof actors)[number];

/** Every verb by every kind that may send it, with each of the ids above, to all and to each. */
const universe: readonly string[] = Object.entries(messageRoutes).flatMap(([verb, {from, reach}]) =>
	from.flatMap(kind =>
		['c0', 'c1', 'main', 'fed', 'evaluator', 'observer', 'ctl', 'conductor'].flatMap(id => {
			const receivers = ['c0', 'c1', 'main', 'fed', 'evaluator', 'observer', 'conductor', 'ctl'];
			const tos = reach === 'all' ? [undefined] : reach === 'one' ? receivers : [undefined, ...receivers];
			return tos.map(to => subjectOf({run: 'tiny', kind, id, verb, ...(to !== undefined && {to})}));
		}),
	),
);

const partsOf = (text: string) => parseSubject(text) as Subject;

/** An actor speaks for itself alone; the fed server's process is also the conductor of its run and asks as an observer. */
function maySay({role, id}: Actor, subject: Subject): boolean {
	const isAsking = subject.kind === 'observer' && subject.verb === 'ask-runs';
	const isMeasuring = role === 'probe' && subject.kind === 'observer' && subject.verb === 'report';
	if (role === 'observer' || role === 'probe') return (isAsking || isMeasuring) && subject.id === id;
	if (
		role === 'fed-server' &&
		(subject.kind === 'conductor' ? subject.id === 'conductor' : isAsking && subject.id === id)
	)
		return true;
	return subject.kind === role && subject.id === id;
}

/** Tensors that only two are to see, and the main server's adapter. */
const isPrivate = ({verb}: Subject) =>
	['activations', 'upload', 'gradient', 'shared-blocks', 'server-adapter'].includes(verb);

/** An actor hears what is said to all by whom it works with, and what is said to it. */
function mayHear({role, id}: Actor, subject: Subject): boolean {
	const {kind, verb, to} = subject;
	if (role === 'probe') return true;
	if (role === 'observer') return !isPrivate(subject);
	const isForIt = to === undefined || to === id;
	switch (role) {
		case 'client':
			return isForIt && ['fed-server', 'main-server', 'conductor'].includes(kind) && verb !== 'server-adapter';
		case 'main-server':
			return isForIt && ['client', 'fed-server', 'conductor'].includes(kind);
		case 'evaluator':
			return isForIt && ['fed-server', 'main-server', 'conductor'].includes(kind);
		case 'conductor':
			return isForIt && kind === 'conductor';
		default: {
			const isOwn = isForIt && ['client', 'main-server', 'observer', 'evaluator', 'conductor'].includes(kind);
			const isConducted = verb === 'ask-runs' || (verb === 'control' && to === 'conductor');
			return isOwn || isConducted || verb === 'report' || (verb === 'welcome' && kind === 'fed-server');
		}
	}
}

/** Attempts to hear more than a literal subject. */
const wide = [
	'>',
	'cutlayer.>',
	'cutlayer.v1.>',
	'cutlayer.v1.tiny.>',
	'cutlayer.v1.tiny.client.>',
	'cutlayer.v1.*.client.*.>',
];
const widePatterns = [
	...wide,
	'cutlayer.v1.tiny.*.*.*',
	'cutlayer.v1.tiny.*.*.*.*',
	...['client', 'main-server', 'fed-server', 'evaluator', 'conductor', '*'].map(kind => `cutlayer.v1.tiny.${kind}.*.>`),
	...['client', 'main-server', 'fed-server', '*'].flatMap(kind => [
		`cutlayer.v1.*.${kind}.*.*.>`,
		`cutlayer.v1.tiny.${kind}.*.*.*`,
	]),
	'cutlayer.v1.*.fed-server.*.*.*',
	'$SYS.>',
	'$JS.>',
	'_INBOX.>',
];

const frameOf = (subject: string): Frame => ({subject, headers: {}, body: Uint8Array.of(1)});

/** A connection hands over what has come one frame a turn. */
async function handedOver(frames: number): Promise<void> {
	for (let turn = 0; turn < 2 * frames; turn++) await new Promise(setImmediate);
}

testWith(binary)('each role says and hears exactly what the rules say, whatever it tries', async t => {
	t.timeout(120_000);
	const made = [...actors, {role: 'run', id: 'run'} as const].map(newUser);
	const broker = await startBroker({binary: binary!, config: usersConfig(made.map(({user}) => user))});
	t.teardown(() => broker.stop());
	const connect = async (index: number, refused: string[]): Promise<NatsBus> => {
		const creds = BrokerCredentials.parse(made[index]!.secret, 'test', 0);
		const onProblem = ({message}: Error) => void refused.push(message);
		const bus = await connectNats({url: broker.url, name: `${index}`, creds, onProblem});
		t.teardown(() => bus.close());
		return bus;
	};
	await t.throwsAsync(connectNats({url: broker.url, name: 'nobody'}), {message: /AUTHORIZATION_VIOLATION/});
	const trusted = await connect(actors.length, []);
	const said: string[] = [];
	trusted.subscribe('cutlayer.v1.tiny.>', ({subject}) => said.push(subject));
	await trusted.flush();

	for (const [index, actor] of actors.entries()) {
		const refused: string[] = [];
		const bus = await connect(index, refused);
		said.length = 0;
		for (const subject of universe) bus.publish(frameOf(subject));
		for (const subject of ['cutlayer.v1.tiny.host.c0.trace', '$JS.API.INFO', '$SYS.REQ.SERVER.PING'])
			bus.publish(frameOf(subject));
		await bus.flush();
		await trusted.flush();
		await handedOver(universe.length);
		const allowed = universe.filter(text => maySay(actor, partsOf(text)));
		t.deepEqual([...said].toSorted(), allowed.toSorted(), `${actor.id} publishes`);
		t.is(refused.length, universe.length - allowed.length + 3, `${actor.id} is told of each refusal`);
	}

	for (const [index, actor] of actors.entries()) {
		const refused: string[] = [];
		const bus = await connect(index, refused);
		const [heard, overheard] = [new Set<string>(), new Set<string>()];
		for (const subject of universe) bus.subscribe(subject, frame => heard.add(frame.subject));
		for (const pattern of widePatterns) bus.subscribe(pattern, frame => overheard.add(frame.subject));
		await bus.flush();
		for (const subject of universe) trusted.publish(frameOf(subject));
		await trusted.flush();
		await bus.flush();
		await handedOver(universe.length * (widePatterns.length + 1));
		const allowed = universe.filter(text => mayHear(actor, partsOf(text)));
		t.deepEqual([...heard].toSorted(), allowed.toSorted(), `${actor.id} hears`);
		t.deepEqual(
			[...overheard].filter(text => !allowed.includes(text)),
			[],
			`${actor.id} overhears`,
		);
		if (actor.role !== 'probe') t.true(refused.length > 0);
	}
});
