/**
Frames that are not in bytes: as long as their bytes are, and read as those are read.
*/
import test from 'ava';
import fc from 'fast-check';
import {decodeFrame, encodeFrame} from '../../protocols/codec.ts';
import type {Frame} from '../../protocols/ports.ts';
import {receiveFrame} from '../../protocols/receive-frame.ts';
import {frameBytes, SealedFrame} from '../../protocols/sealed-frame.ts';
import {byteLengthOf, type Dtype, tensorOf} from '../../protocols/tensor.ts';

const frameOf = (body: unknown): Frame =>
	encodeFrame({
		subject: 'cutlayer.v1.r.client.c0.upload.fed',
		messageId: 'c0:1:7',
		causationId: 'fed:0:3',
		sequence: 7,
		body,
	});

const inBytes = ({subject, headers, body}: Frame): Frame => ({subject, headers, body});

const tensor = fc
	.tuple(
		fc.constantFrom<Dtype>('f32', 'bf16', 'f16', 'i8', 'i32'),
		fc.array(fc.integer({min: 0, max: 5}), {minLength: 1, maxLength: 3}),
	)
	.map(([dtype, shape]) => ({dtype, shape, bytes: new Uint8Array(byteLengthOf(dtype, shape))}));

const number = fc.oneof(
	fc.integer({min: -300, max: 300}),
	fc.integer({min: -70_000, max: 70_000}),
	fc.integer({min: -(2 ** 33), max: 2 ** 33}),
	fc.maxSafeInteger(),
	fc.double(),
	fc.constantFrom(
		0,
		-0,
		127,
		128,
		255,
		256,
		65_535,
		65_536,
		2 ** 32 - 1,
		2 ** 32,
		-32,
		-33,
		-128,
		-129,
		-32_768,
		-32_769,
	),
);

const text = fc.oneof(
	fc.string({maxLength: 70}),
	fc.string({unit: 'grapheme', maxLength: 20}),
	fc.constantFrom('x'.repeat(300), 'x'.repeat(70_000)),
);

const {value} = fc.letrec(tie => ({
	value: fc.oneof(
		{depthSize: 'small'},
		number,
		text,
		fc.boolean(),
		fc.constantFrom(null, undefined),
		tensor,
		fc.array(tie('value'), {maxLength: 20}),
		fc.dictionary(text, tie('value'), {maxKeys: 20, noNullPrototype: true}),
	),
}));

test('a frame that is not in bytes is as long as its bytes, and says what they say', t => {
	let sealed = 0;
	fc.assert(
		fc.property(fc.dictionary(text, value, {maxKeys: 6, noNullPrototype: true}), body => {
			const frame = frameOf(body);
			const decoded = decodeFrame(inBytes(frame), {finiteOnly: false});
			t.is(frameBytes(frame), frame.body.byteLength);
			if (!(frame instanceof SealedFrame)) return;
			sealed++;
			t.deepEqual({ok: true, envelope: frame.envelope, body: frame.content.body}, decoded);
		}),
		{numRuns: 500},
	);
	t.true(sealed > 100, `${sealed} of 500`);
});

test('long lists and many members are measured as they are written', t => {
	for (const count of [15, 16, 65_535, 65_536]) {
		const frame = frameOf({list: Array.from({length: count}, (_, index) => index)});
		t.true(frame instanceof SealedFrame);
		t.is(frameBytes(frame), frame.body.byteLength, `${count}`);
	}
	const members = Object.fromEntries(Array.from({length: 300}, (_, index) => [`c${index}`, index]));
	t.is(frameBytes(frameOf({members})), frameOf({members}).body.byteLength);
});

test('what is not plain goes into bytes at once', t => {
	for (const body of [{a: 'é'}, {é: 1}, {['__proto__']: 1, a: 1}, {constructor: 1}]) {
		t.false(frameOf(body) instanceof SealedFrame, JSON.stringify(body));
	}
	t.throws(() => frameOf({a: () => 1}), {message: /a function, which a message cannot carry/});
});

test('a tensor that is not finite is refused as its bytes are', t => {
	const body = {
		incarnation: 1,
		round: 0,
		adapterVersion: 0,
		stepsDone: 1,
		samples: 1,
		tensors: {'block.0.q.A': tensorOf(new Float32Array([1, Number.NaN]), [1, 2])},
	};
	const frame = frameOf(body);
	t.true(frame instanceof SealedFrame);
	t.deepEqual(receiveFrame(frame), receiveFrame(inBytes(frame)));
	t.false(receiveFrame(frame).ok);
});
