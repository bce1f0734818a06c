/**
The chunked bus: follows the limit of the bus below at every frame, and says what became of frames that never got whole.
*/
import test from 'ava';
import {isChunk} from '../../protocols/chunks.ts';
import type {Bus, Frame} from '../../protocols/ports.ts';
import {chunked} from '../../runtime/bus/chunked.ts';
import {createMemoryBroker} from '../../runtime/bus/memory.ts';
import {collector, frame, numberOf} from '../contracts/bus.ts';

const body = Uint8Array.from({length: 10_000}, (_, at) => at & 255);

test('every frame is cut to the limit of that moment', async t => {
	const broker = createMemoryBroker();
	const below = broker.connect();
	let limit = 4000;
	const counts: number[] = [];
	const counting: Bus = {
		get maxPayloadBytes() {
			return limit;
		},
		publish(part) {
			t.true(part.body.length <= limit);
			counts[numberOf(part)] = (counts[numberOf(part)] ?? 0) + 1;
			below.publish(part);
		},
		subscribe: (pattern, deliver) => below.subscribe(pattern, deliver),
		flush: () => below.flush(),
		close: () => below.close(),
	};
	const bus = chunked(counting);
	const got = collector();
	bus.subscribe('a', got.take);
	for (const [number, next] of [4000, 1000, 20_000].entries()) {
		limit = next;
		bus.publish(frame('a', number, body));
	}
	const frames = await got.atLeast(3);
	t.deepEqual(counts, [3, 10, 1]);
	t.deepEqual(frames.map(numberOf), [0, 1, 2]);
	for (const {body: received} of frames) t.deepEqual(new Uint8Array(received), body);
});

test('a frame whose chunk was lost is reported when its time is over, and later frames arrive', async t => {
	const broker = createMemoryBroker({maxPayloadBytes: 4000});
	const [below, receiver] = [broker.connect(), broker.connect()];
	let [nowMs, lost] = [0, 0];
	const problems: Error[] = [];
	const losing = {
		...below,
		maxPayloadBytes: 4000,
		flush: () => below.flush(),
		close: () => below.close(),
		subscribe: below.subscribe.bind(below),
		publish: (part: Frame) => (isChunk(part) && lost++ === 1 ? undefined : below.publish(part)),
	};
	const sender = chunked(losing as Bus);
	const got = collector();
	chunked(receiver, {now: () => nowMs, timeoutMs: 500, onProblem: problem => problems.push(problem)}).subscribe(
		'a',
		got.take,
	);
	sender.publish(frame('a', 1, body));
	await broker.idle();
	t.deepEqual([got.frames.length, problems.length], [0, 0]);
	nowMs = 600;
	sender.publish(frame('a', 2, body));
	t.deepEqual((await got.atLeast(1)).map(numberOf), [2]);
	t.is(problems.length, 1);
	t.regex(problems[0]!.message, /2 of 3 chunks of a:0:1 after 500 ms; send the message again under a new id \(at a\)/);
});

test('a frame over the longest whole frame is refused by the sender', t => {
	const bus = chunked(createMemoryBroker({maxPayloadBytes: 100}).connect(), {frameBytesMax: 5000});
	t.is(bus.maxPayloadBytes, 5000);
	const error = t.throws(() => bus.publish(frame('a', 0, body)), {code: 'broker-limit'} as never);
	t.regex(error!.message, /at most 5000 bytes for a, found 10000/);
});
