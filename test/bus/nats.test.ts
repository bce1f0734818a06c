/**
The NATS bus over real servers: the contract of every bus, then what only a network does: limits, losses, refusals.
*/

import {decodeFrame, encodeFrame} from '../../protocols/codec.ts';
import type {Bus} from '../../protocols/ports.ts';
import {tensorOf} from '../../protocols/tensor.ts';
import {type Broker, type BrokerOptions, startBroker} from '../../runtime/bus/broker.ts';
import {connectNats, type NatsBus, type NatsOptions} from '../../runtime/bus/nats.ts';
import {findBroker} from '../../runtime/setup/find-broker.ts';
import {testWith} from '../_helpers/optional.ts';
import {collector, frame, numberOf, testBus} from '../contracts/bus.ts';

const found = findBroker();
const test = testWith(found?.binary);

const start = (options: Partial<BrokerOptions> = {}) => startBroker({binary: found!.binary, ...options});

type Link = {bus: NatsBus; problems: Error[]; notices: string[]};

async function link(broker: {url: string}, options: Partial<NatsOptions> = {}): Promise<Link> {
	const problems: Error[] = [];
	const notices: string[] = [];
	const bus = await connectNats({
		url: broker.url,
		name: 'test',
		reconnectDelayMsMax: 100,
		onProblem: problem => problems.push(problem),
		onNotice: text => notices.push(text),
		...options,
	});
	return {bus, problems, notices};
}

/** Waits for a condition that only the network can bring about. */
async function until(isMet: () => boolean, what: string): Promise<void> {
	const endMs = performance.now() + 20_000;
	while (!isMet()) {
		if (performance.now() > endMs) throw new Error(`Not within 20 s: ${what}`);
		await new Promise(resolve => setImmediate(resolve));
	}
}

testBus(test, 'NATS', {
	open: connections => openMany(connections, {frameBytesMax: 1_000_000}),
	openChunked: connections => openMany(connections, {}),
});

async function openMany(connections: number, options: Partial<NatsOptions>) {
	const broker = await start({maxPayloadBytes: 1_048_576});
	const problems: Error[] = [];
	const links = await Promise.all(
		Array.from({length: connections}, () => link(broker, {...options, onProblem: problem => problems.push(problem)})),
	);
	const buses: Bus[] = links.map(({bus}) => bus);
	const end = async () => {
		await Promise.all(buses.map(bus => bus.close()));
		await broker.stop();
	};
	return {buses, problems, end};
}

/** Runs with a broker and links to it, and ends all of them. */
async function withBroker(
	options: Partial<BrokerOptions>,
	run: (broker: Broker, open: (options?: Partial<NatsOptions>) => Promise<Link>) => Promise<void>,
): Promise<void> {
	const broker = await start(options);
	const links: Link[] = [];
	try {
		await run(broker, async linkOptions => {
			const made = await link(broker, linkOptions);
			links.push(made);
			return made;
		});
	} finally {
		await Promise.all(links.map(({bus}) => bus.close()));
		await broker.stop();
	}
}

test('a broker that is not there is an error with its address and what to do', async t => {
	const error = await t.throwsAsync(connectNats({url: 'nats://me:secret@127.0.0.1:1', name: 'x'}), {
		code: 'broker-unreachable',
	} as never);
	t.regex(error.message, /nats:\/\/127\.0\.0\.1:1, found CONNECTION_REFUSED; start a nats-server there/);
	t.notRegex(error.message, /secret/);
});

test('wrong credentials are an error that names them', async t => {
	await withBroker({config: 'authorization { users: [{user: a, password: b}] }'}, async broker => {
		const error = await t.throwsAsync(link(broker, {user: 'a', pass: 'wrong'}), {code: 'broker-unreachable'} as never);
		t.regex(error.message, /AUTHORIZATION_VIOLATION; check the user, password or credentials/);
	});
});

test('a refused permission is reported with the subject and the bus goes on', async t => {
	const config =
		'authorization { users: [{user: a, password: b, permissions: {publish: ["a.>"], subscribe: ["a.>"]}}] }';
	await withBroker({config}, async (_, open) => {
		const {bus, problems} = await open({user: 'a', pass: 'b'});
		const got = collector();
		bus.subscribe('other.>', got.take);
		bus.subscribe('a.>', got.take);
		bus.publish(frame('other.x'));
		bus.publish(frame('a.x', 1));
		await got.atLeast(1);
		await until(() => problems.length >= 2, 'two refusals');
		t.deepEqual(got.frames.map(numberOf), [1]);
		t.deepEqual(problems.map(({message}) => /did not let this connection (.*?);/.exec(message)?.[1]).sort(), [
			'publish to other.x',
			'subscribe to other.>',
		]);
	});
});

test('frames published while the broker is away arrive after its return, cut to its new limit', async t => {
	let broker = await start({maxPayloadBytes: 1_048_576});
	const {port} = broker;
	const {bus, notices, problems} = await link(broker);
	const got = collector();
	bus.subscribe('a.>', got.take);
	bus.publish(frame('a.b', 0));
	await got.atLeast(1);
	t.true(bus.wireLimitBytes > 1_000_000);

	await broker.stop();
	await until(() => !bus.isConnected, 'link lost');
	const body = Uint8Array.from({length: 3_000_000}, (_, at) => at % 251);
	for (let number = 1; number <= 20; number++) bus.publish(frame('a.b', number, number === 10 ? body : undefined));
	const flushed = bus.flush();
	broker = await start({maxPayloadBytes: 131_072, port});
	await flushed;

	t.true(bus.wireLimitBytes < 131_072);
	const frames = await got.atLeast(21);
	t.deepEqual(
		frames.map(numberOf),
		Array.from({length: 21}, (_, number) => number),
	);
	t.is(Buffer.compare(frames[10]!.body, body), 0);
	t.deepEqual(problems, []);
	t.is(notices.length, 2);
	t.regex(notices[0]!, /Lost the broker at nats:\/\/127\.0\.0\.1/);
	t.regex(notices[1]!, /Back at the broker/);
	await bus.close();
	await broker.stop();
});

test('what is held for an absent broker is bounded, and the loss is said once and counted', async t => {
	let broker = await start();
	const {port} = broker;
	const {bus, problems, notices} = await link(broker, {outboxBytesMax: 100_000});
	const got = collector();
	bus.subscribe('a', got.take);
	await broker.stop();
	await until(() => !bus.isConnected, 'link lost');
	for (let number = 0; number < 50; number++) bus.publish(frame('a', number, new Uint8Array(10_000)));
	t.is(problems.length, 1);
	broker = await start({port});
	await until(() => bus.isConnected, 'link back');
	await got.atLeast(9);
	await bus.flush();
	t.deepEqual(got.frames.map(numberOf), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
	t.regex(notices[1]!, /41 frames were dropped/);
	await bus.close();
	await broker.stop();
});

test('a bus can be closed while the broker is away, and a waiting flush ends', async t => {
	const broker = await start();
	const {bus} = await link(broker);
	await broker.stop();
	await until(() => !bus.isConnected, 'link lost');
	const flushed = t.throwsAsync(bus.flush(), {message: /is closed/});
	await bus.close();
	await flushed;
});

test('a long frame arrives where its tensors can be viewed without a copy', async t => {
	await withBroker({}, async (_, open) => {
		const [{bus: sender}, {bus: receiver}] = [await open(), await open()];
		const got = collector();
		receiver.subscribe('cutlayer.>', got.take);
		await receiver.flush();
		const values = Float32Array.from({length: 300_000}, (_, at) => at / 7);
		for (let sequence = 0; sequence < 9; sequence++) {
			const body = {step: sequence, text: 'x'.repeat(sequence), tensors: {activations: tensorOf(values, [300, 1000])}};
			sender.publish(
				encodeFrame({subject: 'cutlayer.v1.r.client.c1.activations.s1', messageId: `c1:0:${sequence}`, sequence, body}),
			);
		}
		for (const received of await got.atLeast(9)) {
			const decoded = decodeFrame(received);
			if (!decoded.ok) throw new Error(decoded.problem.found);
			const {bytes} = (decoded.body as {tensors: {activations: {bytes: Uint8Array}}}).tensors.activations;
			t.is(bytes.buffer, received.body.buffer);
			t.deepEqual(new Float32Array(bytes.buffer, bytes.byteOffset, 300_000), values);
		}
	});
});
