/**
What every bus must do, whatever carries it. Registers one test a rule; each gets connections of its own on a common broker.
*/
import type {ExecutionContext, TestFn} from 'ava';
import type {Bus, Frame} from '../../protocols/ports.ts';

/** A bus under test. */
export type BusSubject = {
	/** Opens connections to one new broker with a limit near 1 MB; `end` leaves nothing behind. */
	readonly open: (connections: number) => Promise<{buses: readonly Bus[]; problems: Error[]; end(): Promise<void>}>;
	/** The same with frames of any length. */
	readonly openChunked: (
		connections: number,
	) => Promise<{buses: readonly Bus[]; problems: Error[]; end(): Promise<void>}>;
};

export const frame = (subject: string, number = 0, body: Uint8Array = new Uint8Array([number & 255])): Frame => ({
	subject,
	headers: {'Nats-Msg-Id': `a:0:${number}`, Number: String(number)},
	body,
});

export const numberOf = ({headers}: Frame): number => Number(headers.Number);

/** Collects what a subscriber gets and resolves when there are enough. */
export function collector(): {frames: Frame[]; take: (frame: Frame) => void; atLeast(count: number): Promise<Frame[]>} {
	const frames: Frame[] = [];
	const waiting: {count: number; resolve: (frames: Frame[]) => void}[] = [];
	return {
		frames,
		take(received) {
			frames.push(received);
			for (const {count, resolve} of waiting) if (frames.length >= count) resolve(frames);
		},
		atLeast(count) {
			if (frames.length >= count) return Promise.resolve(frames);
			return new Promise(resolve => waiting.push({count, resolve}));
		},
	};
}

/** Registers the contract for one bus. */
export function testBus(test: TestFn, name: string, subject: BusSubject): void {
	const check = (
		title: string,
		connections: number,
		run: (t: ExecutionContext, buses: Bus[], problems: Error[]) => Promise<void>,
		chunked = false,
	) =>
		test(`${name}: ${title}`, async t => {
			const {buses, problems, end} = await (chunked ? subject.openChunked : subject.open)(connections);
			try {
				await run(t, [...buses], problems);
			} finally {
				await end();
			}
		});

	check('frames of one publisher arrive in order at every subscriber', 4, async (t, [first, second, third, fourth]) => {
		const got = [collector(), collector()];
		third!.subscribe('a.>', got[0]!.take);
		fourth!.subscribe('a.*', got[1]!.take);
		await Promise.all([third!.flush(), fourth!.flush()]);
		for (let number = 0; number < 500; number++) {
			first!.publish(frame('a.first', number));
			second!.publish(frame('a.second', number));
		}
		for (const {atLeast} of got) {
			const frames = await atLeast(1000);
			for (const from of ['a.first', 'a.second']) {
				t.deepEqual(
					frames.filter(({subject: of}) => of === from).map(numberOf),
					Array.from({length: 500}, (_, number) => number),
				);
			}
		}
	});

	check('wildcards choose what a subscriber gets', 2, async (t, [publisher, subscriber]) => {
		const patterns = ['a.b.c', 'a.*.c', 'a.>', 'a.b', '*.b.*', '>'];
		const got = patterns.map(pattern => {
			const list: string[] = [];
			subscriber!.subscribe(pattern, ({subject: of}) => list.push(of));
			return list;
		});
		const last = collector();
		subscriber!.subscribe('end', last.take);
		await subscriber!.flush();
		for (const of of ['a.b.c', 'a.b', 'a.x.c', 'b.b.b', 'a', 'a.b.c.d', 'end']) publisher!.publish(frame(of));
		await last.atLeast(1);
		t.deepEqual(got, [
			['a.b.c'],
			['a.b.c', 'a.x.c'],
			['a.b.c', 'a.b', 'a.x.c', 'a.b.c.d'],
			['a.b'],
			['a.b.c', 'b.b.b'],
			['a.b.c', 'a.b', 'a.x.c', 'b.b.b', 'a', 'a.b.c.d', 'end'],
		]);
	});

	check('headers and bodies arrive as they were sent', 2, async (t, [publisher, subscriber]) => {
		const got = collector();
		subscriber!.subscribe('a', got.take);
		await subscriber!.flush();
		const bodies = [0, 1, 7, 1000, 65_536, 900_000].map(length =>
			Uint8Array.from({length}, (_, at) => (at * 31) & 255),
		);
		for (const [number, body] of bodies.entries()) publisher!.publish(frame('a', number, body));
		const frames = await got.atLeast(bodies.length);
		for (const [number, body] of bodies.entries()) {
			t.deepEqual(frames[number]!.headers, {'Nats-Msg-Id': `a:0:${number}`, Number: String(number)});
			t.is(Buffer.compare(frames[number]!.body, body), 0);
		}
	});

	check('a publisher gets its own frames', 1, async (t, [bus]) => {
		const got = collector();
		bus!.subscribe('a', got.take);
		bus!.publish(frame('a', 5));
		t.deepEqual((await got.atLeast(1)).map(numberOf), [5]);
	});

	check('publishing returns before anything is delivered', 1, async (t, [bus]) => {
		const got = collector();
		bus!.subscribe('a', got.take);
		bus!.publish(frame('a'));
		t.is(got.frames.length, 0);
		await got.atLeast(1);
	});

	check('a frame over the limit is refused with both numbers', 1, async (t, [bus]) => {
		const error = t.throws(() => bus!.publish(frame('a', 0, new Uint8Array(2_000_000))), {
			code: 'broker-limit',
		} as never);
		t.regex(error!.message, /at most \d+ bytes for a, found 2000000/);
	});

	check('nothing arrives after unsubscribing', 2, async (t, [publisher, subscriber]) => {
		const got = collector();
		const other = collector();
		const unsubscribe = subscriber!.subscribe('a', got.take);
		subscriber!.subscribe('b', other.take);
		await subscriber!.flush();
		publisher!.publish(frame('a', 1));
		await got.atLeast(1);
		unsubscribe();
		publisher!.publish(frame('a', 2));
		publisher!.publish(frame('b', 3));
		await other.atLeast(1);
		t.deepEqual(got.frames.map(numberOf), [1]);
	});

	check(
		'a subscriber that throws is reported and neither it nor others miss frames',
		2,
		async (t, [publisher, subscriber], problems) => {
			const got = collector();
			const other = collector();
			subscriber!.subscribe('a', received => {
				got.take(received);
				throw new Error(`cannot take ${numberOf(received)}`);
			});
			subscriber!.subscribe('a', other.take);
			await subscriber!.flush();
			publisher!.publish(frame('a', 1));
			publisher!.publish(frame('a', 2));
			await Promise.all([got.atLeast(2), other.atLeast(2)]);
			t.deepEqual(got.frames.map(numberOf), [1, 2]);
			t.deepEqual(other.frames.map(numberOf), [1, 2]);
			t.is(problems.length, 2);
			t.regex(problems[0]!.message, /A subscriber of a threw on a: cannot take 1/);
		},
	);

	check('a long queue of one subscriber does not hold up another', 3, async (t, [publisher, slow, quick]) => {
		let slowCount = 0;
		let slowCountAtQuick = -1;
		const all = collector();
		slow!.subscribe('slow', received => {
			slowCount++;
			const until = performance.now() + 1;
			while (performance.now() < until); // a subscriber that computes
			all.take(received);
		});
		const got = collector();
		quick!.subscribe('quick', received => {
			slowCountAtQuick = slowCount;
			got.take(received);
		});
		await Promise.all([slow!.flush(), quick!.flush()]);
		for (let number = 0; number < 300; number++) publisher!.publish(frame('slow', number));
		publisher!.publish(frame('quick'));
		await got.atLeast(1);
		t.true(slowCountAtQuick < 300, `the other came after all ${slowCountAtQuick}`);
		t.deepEqual(
			(await all.atLeast(300)).map(numberOf),
			Array.from({length: 300}, (_, number) => number),
		);
	});

	check('after flush a subscription made before it gets what others publish', 2, async (t, [publisher, subscriber]) => {
		const got = collector();
		subscriber!.subscribe('a', got.take);
		await subscriber!.flush();
		publisher!.publish(frame('a', 1));
		await publisher!.flush();
		t.deepEqual((await got.atLeast(1)).map(numberOf), [1]);
	});

	check('a closed bus delivers nothing and can be closed again', 2, async (t, [publisher, subscriber]) => {
		const got = collector();
		subscriber!.subscribe('a', got.take);
		await subscriber!.flush();
		await subscriber!.close();
		publisher!.publish(frame('a'));
		await publisher!.flush();
		await subscriber!.close();
		t.is(got.frames.length, 0);
	});

	check(
		'a frame of 8 MB crosses a limit of 1 MB whole, in order with short ones',
		2,
		async (t, [publisher, subscriber], problems) => {
			const got = collector();
			subscriber!.subscribe('a.>', got.take);
			await subscriber!.flush();
			const body = new Uint8Array(8_000_000);
			for (let at = 0; at < body.length; at += 97) body[at] = at;
			publisher!.publish(frame('a.b', 1));
			publisher!.publish(frame('a.b', 2, body));
			publisher!.publish(frame('a.b', 3));
			const frames = await got.atLeast(3);
			t.deepEqual(frames.map(numberOf), [1, 2, 3]);
			t.deepEqual(frames[1]!.headers, {'Nats-Msg-Id': 'a:0:2', Number: '2'});
			t.is(Buffer.compare(frames[1]!.body, body), 0);
			t.deepEqual(problems, []);
		},
		true,
	);
}
