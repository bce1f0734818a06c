/**
The memory bus keeps the contract of every bus, and tells when nothing is under way.
*/
import test from 'ava';
import {chunked} from '../../runtime/bus/chunked.ts';
import {createMemoryBroker} from '../../runtime/bus/memory.ts';
import {collector, frame, numberOf, testBus} from '../contracts/bus.ts';

const open = (isChunked: boolean) => (connections: number) => {
	const problems: Error[] = [];
	const onProblem = (problem: Error) => problems.push(problem);
	const broker = createMemoryBroker({maxPayloadBytes: 1_000_000, onProblem});
	const buses = Array.from({length: connections}, () => {
		const bus = broker.connect();
		return isChunked ? chunked(bus, {onProblem}) : bus;
	});
	return Promise.resolve({buses, problems, end: () => Promise.resolve()});
};

testBus(test, 'memory', {open: open(false), openChunked: open(true)});

test('a memory broker is idle when everything published is delivered, replies included', async t => {
	const broker = createMemoryBroker();
	const bus = broker.connect();
	const got = collector();
	bus.subscribe('ask', received => bus.publish({...received, subject: 'answer'}));
	bus.subscribe('answer', got.take);
	for (let number = 0; number < 50; number++) bus.publish(frame('ask', number));
	t.is(broker.undelivered, 50);
	await broker.idle();
	t.is(broker.undelivered, 0);
	t.is(got.frames.length, 50);
});

test('a frame published before a subscription is not delivered to it', async t => {
	const broker = createMemoryBroker();
	const bus = broker.connect();
	const got = collector();
	bus.publish(frame('a', 1));
	bus.subscribe('a', got.take);
	bus.publish(frame('a', 2));
	await broker.idle();
	t.deepEqual(got.frames.map(numberOf), [2]);
});

test('closing a connection with a queue leaves the broker idle', async t => {
	const broker = createMemoryBroker();
	const [bus, other] = [broker.connect(), broker.connect()];
	other.subscribe('a', () => t.fail());
	for (let number = 0; number < 10; number++) bus.publish(frame('a', number));
	const idle = broker.idle();
	await other.close();
	await idle;
	t.is(broker.undelivered, 0);
});

test('a body is handed over without a copy', async t => {
	const broker = createMemoryBroker();
	const bus = broker.connect();
	const got = collector();
	bus.subscribe('a', got.take);
	const body = new Uint8Array(10);
	bus.publish(frame('a', 0, body));
	t.is((await got.atLeast(1))[0]!.body, body);
});

test('two hundred thousand frames to a thousand subscribers take seconds at most', async t => {
	const broker = createMemoryBroker();
	const bus = broker.connect();
	let count = 0;
	for (let client = 0; client < 1000; client++)
		broker.connect().subscribe(`run.server.s.gradient.c${client}`, () => count++);
	const startMs = performance.now();
	for (let number = 0; number < 200_000; number++)
		bus.publish(frame(`run.server.s.gradient.c${number % 1000}`, number));
	await broker.idle();
	t.is(count, 200_000);
	t.true(performance.now() - startMs < 20_000);
});
