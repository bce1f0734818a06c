/**
A hundred thousand damaged frames and chunks: nothing throws, nothing grows, and what is accepted says the same when sent again.
A failure names its seed; FUZZ_SEED=<seed> repeats it and FUZZ_RUNS=<count> sets the number of frames.
*/
import {isDeepStrictEqual} from 'node:util';
import {setFlagsFromString} from 'node:v8';
import {runInNewContext} from 'node:vm';
import test from 'ava';
import {createReassembler, splitFrame} from '../../protocols/chunks.ts';
import {decodeFrame, encodeFrame} from '../../protocols/codec.ts';
import type {Frame} from '../../protocols/ports.ts';
import {tensorOf} from '../../protocols/tensor.ts';
import {toWireFormat} from '../../protocols/wire-formats.ts';
import {type RandomStream, randomStream} from '../../runtime/random.ts';

const seed = Number(process.env.FUZZ_SEED ?? 20260731);
const runs = Number(process.env.FUZZ_RUNS ?? 120_000);
const subject = 'cutlayer.v1.r.client.c1.activations.s1';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Bytes held after a collection, on the heap and outside it. */
function bytesHeld(): number {
	collectGarbage();
	const {heapUsed, arrayBuffers} = process.memoryUsage();
	return heapUsed + arrayBuffers;
}

const values = Float32Array.from({length: 12}, (_, at) => at / 3);
const bodies: unknown[] = [
	{
		round: 1,
		step: 2,
		lengths: [3, 1],
		tensors: {activations: tensorOf(values, [4, 3]), labels: tensorOf(Int32Array.of(1, 2), [2])},
	},
	{
		tensors: {
			a: toWireFormat(tensorOf(values, [4, 3]), 'i8'),
			b: toWireFormat(tensorOf(values, [12]), 'bf16'),
			c: toWireFormat(tensorOf(values, [2, 6]), 'f16'),
		},
	},
	{
		reason: 'none',
		list: [
			{client: 'c1', weight: 0.5},
			{client: 'c2', weight: 0.5},
		],
		deep: [[[[[['x']]]]]],
		none: null,
		yes: true,
		big: 2 ** 40,
	},
	{text: 'ä'.repeat(40), long: 'y'.repeat(300), many: Array.from({length: 40}, (_, at) => at * 1000)},
	[],
];
const frames = bodies.map((body, sequence) =>
	encodeFrame({subject, messageId: `c1:0:${sequence}`, causationId: 's1:0:1', sequence, body}),
);

/** Tokens that declare much: maps, arrays, texts, bytes and extensions with the longest lengths. */
const boasts = [0xdd, 0xdf, 0xdb, 0xc6, 0xc9]
	.map(token => [token, 0xff, 0xff, 0xff, 0xff])
	.concat([0xdc, 0xde, 0xda].map(token => [token, 0xff, 0xff]));

type Mutation = (body: Uint8Array, random: RandomStream) => Uint8Array;

const mutations: Mutation[] = [
	(body, random) => body.slice(0, random.integer(0, body.length)),
	(body, random) => alter(body, random, () => random.integer(0, 255)),
	(body, random) => alter(body, random, byte => byte ^ (1 << random.integer(0, 7))),
	(body, random) => alter(body, random, byte => byte + random.integer(-1, 1)),
	(body, random) => insert(body, random, boasts[random.integer(0, boasts.length - 1)]!),
	(body, random) =>
		insert(body, random, Array<number>(random.integer(1, 2000)).fill(random.integer(0, 1) === 0 ? 0x91 : 0x81)),
	(body, random) =>
		insert(body, random, [
			0xc7 + random.integer(0, 2),
			random.integer(0, 40),
			84,
			random.integer(0, 6),
			random.integer(0, 9),
		]),
	(body, random) => insert(body, random, [0, 0, 0xc0, 0x7f]), // NaN, if it hits a tensor
	(_, random) => Uint8Array.from({length: random.integer(0, 60)}, () => random.integer(0, 255)),
	(body, random) => {
		const other = frames[random.integer(0, frames.length - 1)]!.body;
		return Uint8Array.from([
			...body.subarray(0, random.integer(0, body.length)),
			...other.subarray(random.integer(0, other.length)),
		]);
	},
	body => body,
];

function alter(body: Uint8Array, random: RandomStream, change: (byte: number) => number): Uint8Array {
	const copy = body.slice();
	for (let count = random.integer(1, 3); count > 0 && copy.length > 0; count--) {
		const at = random.integer(0, Math.min(copy.length - 1, random.integer(0, 1) === 0 ? 40 : copy.length));
		copy[at] = change(copy[at]!);
	}
	return copy;
}

function insert(body: Uint8Array, random: RandomStream, bytes: readonly number[]): Uint8Array {
	const at = random.integer(0, body.length);
	return Uint8Array.from([...body.subarray(0, at), ...bytes, ...body.subarray(at + random.integer(0, bytes.length))]);
}

function mutatedHeaders(headers: Frame['headers'], random: RandomStream): Record<string, string> {
	const names = Object.keys(headers);
	const name = names[random.integer(0, names.length - 1)]!;
	const junk = ['', '0', '1', '-1', '2', '9'.repeat(400), 'c1:0:0', 'NaN', '\u0000', '1e9', '4294967295'];
	const {[name]: _, ...others} = headers;
	return random.integer(0, 3) === 0 ? others : {...headers, [name]: junk[random.integer(0, junk.length - 1)]!};
}

function mutated(frame: Frame, random: RandomStream): Frame {
	let {body} = frame;
	for (let count = random.integer(1, 2); count > 0; count--)
		body = mutations[random.integer(0, mutations.length - 1)]!(body, random);
	const headers = random.integer(0, 9) === 0 ? mutatedHeaders(frame.headers, random) : frame.headers;
	return {subject: random.integer(0, 99) === 0 ? 'cutlayer.v1.x' : frame.subject, headers, body};
}

test(`${runs} damaged frames are refused or mean the same when sent again, and nothing is kept of them`, t => {
	const random = randomStream(seed, 'frames');
	const counts = new Map<string, number>();
	decodeFrame(frames[0]!);
	const before = bytesHeld();
	for (let run = 0; run < runs; run++) {
		const frame = mutated(frames[run % frames.length]!, random);
		try {
			const decoded = decodeFrame(frame);
			const outcome = decoded.ok ? 'accepted' : decoded.problem.code;
			counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
			if (!decoded.ok) continue;
			const {messageId, sequence} = decoded.envelope;
			const again = decodeFrame(encodeFrame({subject: frame.subject, messageId, sequence, body: decoded.body}));
			if (!again.ok || !isDeepStrictEqual(again.body, decoded.body))
				t.fail(`run ${run} of seed ${seed} changed when sent again`);
		} catch (thrown) {
			t.fail(`run ${run} of seed ${seed} threw ${thrown} on ${Buffer.from(frame.body).toString('hex')}`);
			return;
		}
	}
	const grown = bytesHeld() - before;
	t.log(Object.fromEntries([...counts].sort()), `grown by ${grown} bytes`);
	t.true(grown < 8_000_000, `grown by ${grown} bytes (seed ${seed})`);
	for (const code of [
		'accepted',
		'malformed',
		'too-deep',
		'tensor-invalid',
		'not-finite',
		'version-unknown',
		'header-invalid',
		'subject-unknown',
	]) {
		t.true((counts.get(code) ?? 0) > 10, `${code} was seen ${counts.get(code) ?? 0} times`);
	}
});

test(`${runs} damaged chunks keep within the bounds and never give another frame`, t => {
	const random = randomStream(seed, 'chunks');
	const bytesMax = 200_000;
	const reassembler = createReassembler({bytesMax, frameBytesMax: 50_000, timeoutMs: 50});
	const before = bytesHeld();
	let [wholes, problems, late] = [0, 0, 0];
	for (let run = 0; run < runs; ) {
		const body = Uint8Array.from({length: random.integer(2, 60)}, () => random.integer(0, 255));
		const frame: Frame = {subject, headers: {'Nats-Msg-Id': `c1:0:${run}`}, body};
		const chunks = splitFrame(frame, random.integer(1, body.length - 1)).map(chunk =>
			random.integer(0, 9) === 0 ? mutated(chunk, random) : chunk,
		);
		for (const chunk of random.shuffle([...chunks])) {
			run++;
			late += reassembler.expire(run / 100).length;
			try {
				const result = reassembler.accept(chunk, run / 100);
				if (result.problem) problems++;
				if (!result.frame) continue;
				wholes++;
				const isOwn = result.frame === chunk || isDeepStrictEqual(Buffer.from(result.frame.body), Buffer.from(body));
				if (!isOwn) t.fail(`run ${run} of seed ${seed} gave a frame that nobody sent`);
			} catch (thrown) {
				t.fail(`run ${run} of seed ${seed} threw ${thrown}`);
				return;
			}
			if (reassembler.bytes > bytesMax) t.fail(`run ${run} of seed ${seed} holds ${reassembler.bytes} bytes`);
		}
	}
	late += reassembler.expire(Number.POSITIVE_INFINITY).length;
	t.is(reassembler.bytes, 0);
	t.log({wholes, problems, late});
	t.true(wholes > 5000 && problems > 1000 && late > 1000);
	t.true(bytesHeld() - before < 8_000_000);
});

test('a body of ten million small values is refused without building them', t => {
	const body = new Uint8Array(10_000_005).fill(0x00);
	body.set([0xdd, ...new Uint8Array(Uint32Array.of(10_000_000).buffer).reverse()]);
	const before = bytesHeld();
	const decoded = decodeFrame({...frames[0]!, body});
	t.false(decoded.ok);
	t.true(bytesHeld() - before < 1_000_000);
});
