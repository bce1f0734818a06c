/**
The codec: what goes in comes out, tensors without a copy where they can be, and every bad frame is refused by name.
*/
import test from 'ava';
import fc from 'fast-check';
import {type Decoded, decodeFrame, encodeFrame} from '../../protocols/codec.ts';
import {problemText} from '../../protocols/envelope.ts';
import type {Frame} from '../../protocols/ports.ts';
import {byteLengthOf, type Dtype, f32View, type Tensor, tensorOf} from '../../protocols/tensor.ts';

const subject = 'cutlayer.v1.r.client.c1.activations.s1';
function frameOf(body: unknown, sequence = 3): Frame {
	const frame = encodeFrame({subject, messageId: `c1:0:${sequence}`, sequence, body});
	return {subject: frame.subject, headers: frame.headers, body: frame.body};
}

function bodyOf(decoded: Decoded): unknown {
	if (!decoded.ok) throw new Error(problemText(decoded.problem));
	return decoded.body;
}

function problemOf(decoded: Decoded) {
	if (decoded.ok) throw new Error('It was accepted');
	return decoded.problem;
}

/** A copy of a frame whose body begins at some offset of its memory. */
function shifted(frame: Frame, by: number): Frame {
	const memory = new Uint8Array(frame.body.length + by);
	memory.set(frame.body, by);
	return {...frame, body: memory.subarray(by)};
}

const scalar = fc.oneof(
	fc.string(),
	fc.integer(),
	fc.double({noNaN: true}),
	fc.boolean(),
	fc.constant(null),
	fc.integer({min: -(2 ** 52), max: 2 ** 52}),
);
const dtypes: Dtype[] = ['f32', 'bf16', 'f16', 'i8', 'i32'];
const tensor = fc
	.record({
		dtype: fc.constantFrom(...dtypes),
		shape: fc.array(fc.integer({min: 0, max: 4}), {minLength: 1, maxLength: 4}),
		seed: fc.nat(),
	})
	.map(({dtype, shape, seed}): Tensor => {
		const bytes = Uint8Array.from({length: byteLengthOf(dtype, shape)}, (_, at) => (at * 7 + seed) & 0x3f);
		return {dtype, shape, bytes};
	});
const {tree} = fc.letrec(tie => ({
	tree: fc.oneof(
		{maxDepth: 4},
		scalar,
		tensor,
		fc.array(tie('tree'), {maxLength: 5}),
		fc.dictionary(
			fc.string().filter(key => key !== '__proto__'),
			tie('tree'),
			{maxKeys: 5, noNullPrototype: true},
		),
	),
}));

test('any JSON-like body with tensors anywhere comes back as it was, at any offset in memory', t => {
	fc.assert(
		fc.property(fc.record({value: tree}), fc.nat({max: 9}), (body, by) => {
			const frame = shifted(frameOf(body), by);
			const decoded = bodyOf(decodeFrame(frame));
			t.deepEqual(JSON.parse(JSON.stringify(decoded)), JSON.parse(JSON.stringify(body)));
		}),
		{numRuns: 500},
	);
});

test('the envelope says who sent what and why', t => {
	const frame = encodeFrame({subject, messageId: 'c1:2:17', causationId: 's1:0:4', sequence: 17, body: {}});
	const decoded = decodeFrame(frame);
	t.true(decoded.ok);
	t.deepEqual(decoded.ok && decoded.envelope, {
		subject: {run: 'r', kind: 'client', id: 'c1', verb: 'activations', to: 's1'},
		messageId: 'c1:2:17',
		incarnation: 2,
		sequence: 17,
		causationId: 's1:0:4',
		bytes: frame.body.length,
	});
});

test('tensors of an aligned frame are views of it, of an unaligned one single copies', t => {
	const values = Float32Array.from({length: 30}, (_, at) => at - 7.5);
	for (let length = 0; length < 9; length++) {
		const frame = frameOf({
			text: 'x'.repeat(length),
			tensors: {a: tensorOf(values, [5, 6]), b: tensorOf(values.subarray(1), [29])},
		});
		for (let by = 0; by < 9; by++) {
			const moved = shifted(frame, by);
			const {tensors} = bodyOf(decodeFrame(moved)) as {tensors: Record<'a' | 'b', Tensor>};
			t.is(tensors.a.bytes.buffer === moved.body.buffer, by % 4 === 0);
			t.is(tensors.b.bytes.byteOffset % 4, 0);
			t.deepEqual(f32View(tensors.a), values);
			t.deepEqual(f32View(tensors.b), values.subarray(1));
		}
	}
});

test('a body in a Buffer is not written to and its tensors are plain bytes', t => {
	const frame = frameOf({a: tensorOf(Int32Array.of(1, 2), [2])});
	const pooled = Buffer.concat([Buffer.from('x'), frame.body]).subarray(1);
	const {a} = bodyOf(decodeFrame({...frame, body: pooled})) as {a: Tensor};
	t.false(Buffer.isBuffer(a.bytes));
	t.deepEqual(Object.keys(pooled).length, pooled.length);
	t.deepEqual(new Uint8Array(pooled), frame.body);
});

test('fields that are undefined are left out, and numbers keep their value', t => {
	const body = {
		a: undefined,
		b: [undefined, 1],
		big: Number.MAX_SAFE_INTEGER,
		small: -(2 ** 40),
		third: 1 / 3,
		zero: -0,
		nan: Number.NaN,
	};
	t.deepEqual(bodyOf(decodeFrame(frameOf(body))), {
		b: [null, 1],
		big: Number.MAX_SAFE_INTEGER,
		small: -(2 ** 40),
		third: 1 / 3,
		zero: 0,
		nan: Number.NaN,
	});
});

test('equal messages have equal bytes', t => {
	const make = () => frameOf({step: 1, tensors: {a: tensorOf(Float32Array.of(1, 2), [2])}});
	t.deepEqual(make(), make());
});

test('a body that could not be read back is a programming error with its path', t => {
	const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)]);
	const bad: [unknown, RegExp][] = [
		[{a: {b: new Date(0)}}, /body\.a\.b is no plain object/],
		[{a: [1, 2n]}, /body\.a\[1\] is a bigint/],
		[{f() {}}, /body\.f is a function/],
		[new Map(), /body is no plain object/],
		[nested(17), /nested deeper than 16/],
		[
			{t: {dtype: 'f32', shape: [3], bytes: new Uint8Array(8)}},
			/body\.t is f32 \[3\], which takes 12 bytes, but has 8/,
		],
		[{t: {dtype: 'f64', shape: [1], bytes: new Uint8Array(8)}}, /unknown dtype f64/],
		[{t: {dtype: 'f32', shape: [-1], bytes: new Uint8Array(8)}}, /no shape that can be sent/],
		[{t: {dtype: 'f32', shape: Array(9).fill(1), bytes: new Uint8Array(4)}}, /no shape that can be sent/],
	];
	for (const [body, message] of bad) t.throws(() => frameOf(body), {message});
	t.throws(() => encodeFrame({subject, messageId: 'c2:0:1', sequence: 1, body: 1}), {message: /may not be sent under/});
	t.throws(() => encodeFrame({subject, messageId: 'c1:0:1', sequence: 2, body: 1}), {
		message: /no message id of sequence 2/,
	});
});

const headerCases: [string, string | undefined, string][] = [
	['Cutlayer-Version', '2', 'version-unknown'],
	['Cutlayer-Version', undefined, 'version-unknown'],
	['Content-Type', 'application/json', 'content-type-unknown'],
	['Nats-Msg-Id', 'c2:0:3', 'header-invalid'],
	['Nats-Msg-Id', 'c1:0', 'header-invalid'],
	['Nats-Msg-Id', undefined, 'header-invalid'],
	['Cutlayer-Sequence', '4', 'header-invalid'],
	['Cutlayer-Sequence', '03', 'header-invalid'],
	['Cutlayer-Cause', 'x', 'header-invalid'],
];

for (const [name, value, code] of headerCases) {
	test(`a frame whose ${name} is ${value ?? 'missing'} is refused by that name`, t => {
		const {headers, ...frame} = frameOf({});
		const {[name]: _, ...others} = headers;
		const problem = problemOf(
			decodeFrame({...frame, headers: {...others, ...(value !== undefined && {[name]: value})}}),
		);
		t.like(problem, {code, field: name, found: value ?? 'nothing'});
		t.regex(problemText(problem), new RegExp(`^Refused a frame: expected ${name} to be .+, found .+; .+`));
	});
}

test('a frame under a foreign subject is refused', t => {
	t.like(problemOf(decodeFrame({...frameOf({}), subject: 'other.thing'})), {
		code: 'subject-unknown',
		found: 'other.thing',
	});
});

test('what a refusal repeats is short and printable', t => {
	const frame = frameOf({});
	const problem = problemOf(
		decodeFrame({...frame, headers: {...frame.headers, 'Cutlayer-Version': `\u0000\n${'9'.repeat(5000)}`}}),
	);
	t.true(problem.found.length <= 103);
	t.regex(problem.found, /^\?\?9+\.\.\.$/);
});

/** Bytes given as text: `82` is a byte, `'ab` is text. */
const raw = (...parts: (number | string)[]): Frame => ({
	...frameOf({}),
	body: Uint8Array.from(parts.flatMap(part => (typeof part === 'string' ? [...Buffer.from(part)] : [part]))),
});

const bodyCases: [string, Frame, string, string][] = [
	['is empty', raw(), 'malformed', 'body'],
	['ends early', raw(0x81, 0xa1, 'a', 0xcd, 1), 'malformed', 'a'],
	['goes on after its value', raw(0x01, 0x02), 'malformed', 'body'],
	['declares a huge array', raw(0x81, 0xa1, 'a', 0xdd, 0xff, 0xff, 0xff, 0xff), 'malformed', 'a'],
	['declares a huge map', raw(0xdf, 0xff, 0xff, 0xff, 0xff), 'malformed', 'body'],
	['declares a huge text', raw(0x81, 0xa1, 'a', 0xdb, 0xff, 0xff, 0xff, 0xff, 'xy'), 'malformed', 'a'],
	['declares a huge extension', raw(0x81, 0xa1, 'a', 0xc9, 0xff, 0xff, 0xff, 0xff, 84), 'malformed', 'a'],
	['has bare bytes', raw(0x81, 0xa1, 'a', 0xc4, 0x01, 0x01), 'malformed', 'a'],
	['has the unused token', raw(0xc1), 'malformed', 'body'],
	['has a key that is a number', raw(0x81, 0x01, 0x01), 'malformed', 'body'],
	['defines a record', raw(0x81, 0xa1, 'a', 0xd4, 0x72, 0x40), 'tensor-invalid', 'a'],
	['has a date', raw(0x91, 0xd6, 0xff, 0, 0, 0, 0), 'tensor-invalid', '[0]'],
	[
		'has a tensor of unknown dtype',
		raw(0x81, 0xa1, 't', 0xc7, 8, 84, 9, 0, 0, 0, 0, 0, 0, 0),
		'tensor-invalid',
		't.dtype',
	],
	['has a tensor of rank 9', raw(0x81, 0xa1, 't', 0xc7, 8, 84, 1, 9, 0, 0, 0, 0, 0, 0), 'tensor-invalid', 't.shape'],
	[
		'has a tensor whose shape is a lie',
		raw(0x81, 0xa1, 't', 0xc7, 12, 84, 1, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0),
		'tensor-invalid',
		't.shape',
	],
	[
		'has a tensor whose extents overflow',
		raw(0x81, 0xa1, 't', 0xc7, 16, 84, 1, 2, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0),
		'tensor-invalid',
		't.shape',
	],
	[
		'has a tensor with bytes hidden as padding',
		raw(0x81, 0xa1, 't', 0xc7, 16, 84, 1, 1, 8, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8),
		'tensor-invalid',
		't.shape',
	],
];

for (const [what, frame, code, field] of bodyCases) {
	test(`a body that ${what} is refused at ${field}`, t => {
		t.like(problemOf(decodeFrame(frame)), {code, field});
	});
}

test('nesting is refused beyond 16 levels and taken up to them', t => {
	const nested = (levels: number): Frame => ({...frameOf({}), body: new Uint8Array(levels + 1).fill(0x91, 0, levels)});
	t.true(decodeFrame(nested(16)).ok);
	t.is(problemOf(decodeFrame(nested(17))).code, 'too-deep');
	t.is(problemOf(decodeFrame(nested(1_000_000))).code, 'too-deep');
});

test('bounds on bytes and values are kept', t => {
	t.like(problemOf(decodeFrame(frameOf({a: 'x'.repeat(100)}), {bodyBytesMax: 50})), {
		code: 'too-large',
		field: 'body',
		expected: 'at most 50 bytes',
	});
	t.true(decodeFrame(frameOf([1, 2, 3]), {valuesMax: 4}).ok);
	t.like(problemOf(decodeFrame(frameOf([1, 2, 3]), {valuesMax: 3})), {code: 'too-large', field: '[2]'});
});

test('a tensor that is not finite is refused by its path unless asked for', t => {
	for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
		const frame = frameOf({
			tensors: {good: tensorOf(Float32Array.of(1), [1]), bad: tensorOf(Float32Array.of(1, 2, value, 4), [4])},
		});
		t.like(problemOf(decodeFrame(frame)), {code: 'not-finite', field: 'tensors.bad'});
		t.true(decodeFrame(frame, {finiteOnly: false}).ok);
	}
});

test('a key named __proto__ changes no prototype', t => {
	const body = bodyOf(decodeFrame(raw(0x81, 0xa9, '__proto__', 0x81, 0xa1, 'x', 0x01))) as {x?: number};
	t.is(Object.getPrototypeOf(body), Object.prototype);
	t.is(body.x, undefined);
});
