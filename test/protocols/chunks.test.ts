/**
Chunks: any order, any repetition, the whole comes back once; lies, gaps and time are refused within bounds.
*/
import {crc32 as zlibCrc32} from 'node:zlib';
import test from 'ava';
import fc from 'fast-check';
import {createReassembler, splitFrame} from '../../protocols/chunks.ts';
import {crc32} from '../../protocols/crc32.ts';
import type {Frame} from '../../protocols/ports.ts';

const whole = (bytes: number, id = 'c1:0:1', sender = 'c1'): Frame => ({
	subject: `cutlayer.v1.r.client.${sender}.upload.f`,
	headers: {'Nats-Msg-Id': id, Other: 'kept'},
	body: Uint8Array.from({length: bytes}, (_, at) => (at * 13 + (at >> 8)) & 255),
});

const altered = (frame: Frame, headers: Record<string, string>, body = frame.body): Frame => ({
	...frame,
	headers: {...frame.headers, ...headers},
	body,
});

test('the checksum is the one of zlib, in one piece or several', t => {
	t.is(crc32(Buffer.from('123456789')), 0xcbf43926);
	const independent = zlibCrc32 as ((data: Uint8Array) => number) | undefined;
	fc.assert(
		fc.property(fc.uint8Array({maxLength: 100}), fc.nat(100), (bytes, at) => {
			t.is(crc32(bytes.subarray(at), crc32(bytes.subarray(0, at))), crc32(bytes));
			if (independent) t.is(crc32(bytes), independent(bytes));
		}),
	);
});

test('a frame that fits is not cut, and is given back at once', t => {
	const frame = whole(100);
	t.deepEqual(splitFrame(frame, 100), [frame]);
	t.is(createReassembler().accept(frame, 0).frame, frame);
});

test('chunks in any order, each any number of times, give the frame exactly once', t => {
	fc.assert(
		fc.property(
			fc.integer({min: 2, max: 300}),
			fc.integer({min: 1, max: 100}),
			fc.infiniteStream(fc.nat()),
			(bytes, limit, numbers) => {
				fc.pre(bytes > limit);
				const frame = whole(bytes);
				const chunks = splitFrame(frame, limit);
				t.true(chunks.every(({body}) => body.length <= limit));
				t.is(new Set(chunks.map(({headers}) => headers['Nats-Msg-Id'])).size, chunks.length);
				const sent = [...chunks, ...chunks.slice(0, 5)].sort(() => ((numbers.next().value as number) % 2) - 0.5);
				const reassembler = createReassembler();
				const results = sent.map(chunk => reassembler.accept(chunk, 0));
				t.deepEqual(
					results.flatMap(({problem}) => problem ?? []),
					[],
				);
				t.deepEqual(
					results.flatMap(({frame: got}) => got ?? []),
					[frame],
				);
				t.is(reassembler.bytes, 0);
			},
		),
		{numRuns: 500},
	);
});

test('interleaved frames of several senders do not mix', t => {
	const frames = ['c1', 'c2', 'c3'].map(sender => whole(1000, `${sender}:0:1`, sender));
	const reassembler = createReassembler();
	const cut = frames.map(frame => splitFrame(frame, 300));
	const got = [0, 1, 2, 3].flatMap(index => cut.flatMap(chunks => reassembler.accept(chunks[index]!, 0).frame ?? []));
	t.deepEqual(got, frames);
});

test('a chunk that lies about the whole ends the frame and says which number', t => {
	const chunks = splitFrame(whole(1000), 300);
	const lies: [Record<string, string>, Uint8Array | undefined, RegExp][] = [
		[{'Cutlayer-Chunk-Total': '1001'}, undefined, /total of chunk 1/],
		[{'Cutlayer-Chunk-Crc32': '5'}, undefined, /crc of chunk 1/],
		[{}, new Uint8Array(301), /each of chunk 1/],
		[{'Cutlayer-Chunk-Count': '5'}, new Uint8Array(240), /count of chunk 1/],
	];
	for (const [headers, body, field] of lies) {
		const reassembler = createReassembler();
		reassembler.accept(chunks[0]!, 0);
		const {problem} = reassembler.accept(altered(chunks[1]!, headers, body), 0);
		t.is(problem?.code, 'chunk-invalid');
		t.regex(problem!.field, field);
		t.is(reassembler.bytes, 0);
		t.deepEqual(reassembler.accept(chunks[2]!, 0), {}, 'the rest of it starts nothing');
		t.is(reassembler.bytes, 0);
	}
});

test('numbers that no cut can give are refused before anything is reserved', t => {
	const [first] = splitFrame(whole(1000), 300);
	const bad: Record<string, string>[] = [
		{'Cutlayer-Chunk-Index': '4'},
		{'Cutlayer-Chunk-Index': '-1'},
		{'Cutlayer-Chunk-Index': '1e3'},
		{'Cutlayer-Chunk-Index': ''},
		{'Cutlayer-Chunk-Count': '1'},
		{'Cutlayer-Chunk-Count': '999999999999'},
		{'Cutlayer-Chunk-Total': '9007199254740991'},
		{'Cutlayer-Chunk-Total': '0'},
		{'Cutlayer-Chunk-Crc32': 'x'},
		{'Cutlayer-Chunk-Of': ''},
		{'Cutlayer-Chunk-Of': 'x'.repeat(101)},
	];
	for (const headers of bad) {
		const reassembler = createReassembler();
		const {problem, frame} = reassembler.accept(altered(first!, headers), 0);
		t.is(problem?.code, 'chunk-invalid', JSON.stringify(headers));
		t.is(frame, undefined);
		t.is(reassembler.bytes, 0);
	}
	t.is(createReassembler().accept(altered(first!, {}, new Uint8Array(0)), 0).problem?.code, 'chunk-invalid');
});

test('a bit that flipped on the way is found by the checksum', t => {
	const chunks = splitFrame(whole(1000), 300);
	const body = chunks[2]!.body.slice();
	body[7]! ^= 4;
	const reassembler = createReassembler();
	const results = chunks.map((chunk, index) => reassembler.accept(index === 2 ? {...chunk, body} : chunk, 0));
	t.like(results[3]!.problem, {code: 'chunk-invalid', field: 'Cutlayer-Chunk-Crc32'});
	t.is(results[3]!.frame, undefined);
});

test('a frame whose chunks do not all come is given up when its time is over, and named', t => {
	const reassembler = createReassembler({timeoutMs: 1000});
	const [first, second] = splitFrame(whole(1000), 600);
	reassembler.accept(first!, 100);
	t.deepEqual(reassembler.expire(1099), []);
	const [problem, ...others] = reassembler.expire(1100);
	t.deepEqual(others, []);
	t.like(problem, {code: 'chunk-late'});
	t.regex(problem!.found, /1 of 2 chunks of c1:0:1 after 1000 ms/);
	t.is(reassembler.bytes, 0);
	t.deepEqual(reassembler.accept(second!, 1200), {});
});

test('bounds on one frame, one sender and all of them are kept', t => {
	const limits = {frameBytesMax: 10_000, senderBytesMax: 25_000, bytesMax: 40_000};
	const begin = (bytes: number, id: string, sender: string) => splitFrame(whole(bytes, id, sender), bytes - 1)[0]!;
	const reassembler = createReassembler(limits);
	const codeOf = (bytes: number, id: string, sender: string) =>
		reassembler.accept(begin(bytes, id, sender), 0).problem?.code;
	t.is(codeOf(10_001, 'a:0:1', 'a'), 'too-large');
	t.is(codeOf(10_000, 'a:0:2', 'a'), undefined);
	t.is(codeOf(10_000, 'a:0:3', 'a'), undefined);
	t.is(codeOf(10_000, 'a:0:4', 'a'), 'too-large');
	t.is(codeOf(10_000, 'b:0:1', 'b'), undefined);
	t.is(codeOf(10_000, 'c:0:1', 'c'), 'too-large');
	t.true(reassembler.bytes <= limits.bytesMax);
	t.is(reassembler.accept(splitFrame(whole(10_000, 'a:0:2', 'a'), 9999)[1]!, 0).frame?.body.length, 10_000);
	t.is(codeOf(10_000, 'c:0:2', 'c'), undefined);
});
