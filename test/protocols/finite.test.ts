/**
The check for NaN and infinity against JavaScript's own, at every place a value can stand.
*/
import test from 'ava';
import fc from 'fast-check';
import {isFiniteTensor} from '../../protocols/finite.ts';
import type {Dtype, Tensor} from '../../protocols/tensor.ts';
import {fromWireFormat} from '../../protocols/wire-formats.ts';

const isFiniteSlowly = (tensor: Tensor): boolean => {
	const {bytes} = fromWireFormat(tensor);
	return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4).every(Number.isFinite);
};

test('all 65,536 values of bf16 and f16 are judged as JavaScript judges them, in either half of a word', t => {
	for (const dtype of ['bf16', 'f16'] as const) {
		for (let bits = 0; bits < 65_536; bits++) {
			const pair = Uint16Array.of(0x3c00, bits, bits);
			const single: Tensor = {dtype, shape: [1], bytes: new Uint8Array(pair.buffer, 2, 2)};
			const isFine = isFiniteSlowly(single);
			if (isFiniteTensor(single) !== isFine) t.fail(`${dtype} ${bits}`);
			if (isFiniteTensor({dtype, shape: [2], bytes: new Uint8Array(pair.buffer, 0, 4)}) !== isFine)
				t.fail(`${dtype} ${bits} second`);
			if (isFiniteTensor({dtype, shape: [3], bytes: new Uint8Array(pair.buffer)}) !== isFine)
				t.fail(`${dtype} ${bits} third`);
		}
	}
	t.pass();
});

test('one bad f32 is found at every place of a tensor of every length, aligned or not', t => {
	for (let length = 1; length <= 19; length++) {
		for (let place = -1; place < length; place++) {
			const values = Float32Array.from({length}, () => -3.4e38);
			if (place >= 0) values[place] = place % 2 === 0 ? Number.NaN : Number.NEGATIVE_INFINITY;
			const memory = new Uint8Array(4 * length + 1);
			memory.set(new Uint8Array(values.buffer), 1);
			for (const bytes of [new Uint8Array(values.buffer), memory.subarray(1)])
				t.is(isFiniteTensor({dtype: 'f32', shape: [length], bytes}), place < 0);
		}
	}
});

test('any bits of f32 are judged as JavaScript judges them', t => {
	fc.assert(
		fc.property(fc.array(fc.integer()), bits => {
			const bytes = new Uint8Array(Int32Array.from(bits).buffer);
			const tensor: Tensor = {dtype: 'f32', shape: [bits.length], bytes};
			t.is(isFiniteTensor(tensor), isFiniteSlowly(tensor));
		}),
		{numRuns: 2000},
	);
});

test('i8 is judged by its scales and i32 is always finite', t => {
	const bytes = new Uint8Array(Float32Array.of(1, Number.NaN).buffer);
	const i8 = (scale: number): Tensor => ({
		dtype: 'i8',
		shape: [1, 4],
		bytes: Uint8Array.of(...new Uint8Array(Float32Array.of(scale).buffer), 255, 255, 255, 127),
	});
	t.true(isFiniteTensor(i8(0.5)));
	t.false(isFiniteTensor(i8(Number.POSITIVE_INFINITY)));
	t.true(isFiniteTensor({dtype: 'i32', shape: [2], bytes}));
	for (const dtype of ['f32', 'bf16', 'f16', 'i8', 'i32'] satisfies Dtype[])
		t.true(isFiniteTensor({dtype, shape: [0], bytes: new Uint8Array(0)}));
});

test('one bad value is found at every place of a long tensor, and beyond the end nothing is looked at', t => {
	for (const length of [512, 8191, 8192, 8193, 20_001]) {
		const values = new Float32Array(length + 40).fill(Number.NaN).fill(1.5, 20, 20 + length);
		const tensor = (from: number): Tensor => ({
			dtype: 'f32',
			shape: [length],
			bytes: new Uint8Array(values.buffer, from, 4 * length),
		});
		t.true(isFiniteTensor(tensor(80)));
		t.false(isFiniteTensor(tensor(76)));
		t.false(isFiniteTensor(tensor(84)));
		for (let place = 20; place < 20 + length; place += length > 1000 ? 37 : 1) {
			values[place] = Number.NEGATIVE_INFINITY;
			if (isFiniteTensor(tensor(80))) t.fail(`${place} of ${length}`);
			values[place] = 3.4e38;
		}
		t.true(isFiniteTensor(tensor(80)));
		t.true(
			isFiniteTensor({
				dtype: 'bf16',
				shape: [2 * length],
				bytes: new Uint8Array(new Uint16Array(2 * length).fill(0x3f80).buffer),
			}),
		);
		const halves = new Uint16Array(2 * length + 1).fill(0x7bff);
		t.true(isFiniteTensor({dtype: 'f16', shape: [2 * length + 1], bytes: new Uint8Array(halves.buffer)}));
		halves[2 * length] = 0x7c00;
		t.false(isFiniteTensor({dtype: 'f16', shape: [2 * length + 1], bytes: new Uint8Array(halves.buffer)}));
	}
});
