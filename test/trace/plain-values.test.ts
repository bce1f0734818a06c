import test from 'ava';
import fc from 'fast-check';
import {packPlain, unpackPlain} from '../../protocols/codec.ts';
import {readPlain} from '../../runtime/trace/plain-values.ts';

/** The value as read where it stands among other bytes. */
function readAmong(value: unknown): unknown {
	const packed = packPlain(value);
	const around = Buffer.alloc(packed.length + 5, 0xff);
	around.set(packed, 3);
	return readPlain(around, 3, 3 + packed.length);
}

const key = fc.oneof(
	fc.constantFrom('kind', 'n', 'op', 'path', 'value', 'block.0.q.A', 'block.0.q.B', 'main/7', '', '__proto__'),
	fc.string({unit: 'grapheme', maxLength: 40}),
);
const {value} = fc.letrec(tie => ({
	value: fc.oneof(
		{maxDepth: 5},
		fc.constantFrom(null, true, false, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, 2 ** 32, -(2 ** 31), 2 ** 53 - 1),
		fc.integer(),
		fc.double(),
		fc.string({unit: 'grapheme', maxLength: 300}),
		fc.string({maxLength: 50}),
		fc.array(tie('value'), {maxLength: 20}),
		fc.dictionary(key, tie('value'), {maxKeys: 60}),
	),
}));

test('any value is read as the codec reads it, again and again', t => {
	fc.assert(
		fc.property(value, one => {
			const expected = unpackPlain(packPlain(one));
			// The shape of a map is compiled at its seventeenth use.
			for (let time = 0; time < 18; time++) t.deepEqual(readAmong(one), expected);
		}),
		{numRuns: 150},
	);
});

test('the order of members is that of the bytes, also in large maps and after many unlike ones', t => {
	for (let map = 0; map < 300; map++) {
		const names = Array.from({length: 1 + (map % 70)}, (_, index) => `k${(index * 7 + map * 13) % 1000}`);
		const one = Object.fromEntries(names.map((name, index) => [name, index]));
		t.is(JSON.stringify(readAmong(one)), JSON.stringify(one));
	}
});

test('what only the codec knows is read by it: bytes, and integers of 64 bits', t => {
	t.deepEqual(readAmong({a: Uint8Array.of(1, 2), b: [1]}), unpackPlain(packPlain({a: Uint8Array.of(1, 2), b: [1]})));
	const long = Buffer.from('81a161cf0000001000000000', 'hex');
	t.deepEqual(readPlain(long, 0, long.length), {a: 2 ** 36});
});

test('bytes that are no single value are refused, cut anywhere, followed by more, or made up', t => {
	const packed = Buffer.from(packPlain({kind: 'input', n: 1, t: 2.5, event: {type: 'ü', body: {a: [1, {b: null}]}}}));
	for (let length = 0; length < packed.length; length++)
		t.throws(() => readPlain(Buffer.from(packed.subarray(0, length)), 0, length));
	t.throws(() => readPlain(Buffer.concat([packed, Buffer.of(1)]), 0, packed.length + 1), {message: /after the end/});
	// Four thousand million items in nine bytes, and a text that is as long.
	for (const hex of ['ddffffffff01020304', 'dfffffffffa161', 'dbffffffff61']) {
		const bytes = Buffer.from(hex, 'hex');
		t.throws(() => readPlain(bytes, 0, bytes.length));
	}
	t.deepEqual(readAmong({after: ['a', 'mistake']}), {after: ['a', 'mistake']});
});
