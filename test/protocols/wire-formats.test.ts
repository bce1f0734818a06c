/**
Number formats against closed forms: the nearest value of the format by arithmetic in doubles, ties to even, and stated bounds.
*/
import test from 'ava';
import fc from 'fast-check';
import {isFiniteTensor} from '../../protocols/finite.ts';
import {byteLengthOf, f32View, type Tensor, tensorOf} from '../../protocols/tensor.ts';
import {fromWireFormat, toWireFormat, type WireFormat} from '../../protocols/wire-formats.ts';

const through = (
	values: readonly number[] | Float32Array,
	format: WireFormat,
	shape: readonly number[] = [values.length],
): Float32Array => f32View(fromWireFormat(toWireFormat(tensorOf(Float32Array.from(values), shape), format)));

/** A value rounded to a multiple of `step`, ties to even, in doubles (exact for the steps used here). */
function roundTo(value: number, step: number): number {
	const quotient = value / step;
	const below = Math.floor(quotient);
	const rest = quotient - below;
	const rounded = rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below;
	return rounded * step;
}

/** The nearest number with so many bits of significand and a least exponent; beyond `largest` (rounded) infinite. */
function nearest(value: number, bits: number, exponentMin: number, largest: number): number {
	if (value === 0 || !Number.isFinite(value)) return value;
	const exponent = Math.max(Math.floor(Math.log2(Math.abs(value))), exponentMin);
	const exact =
		Math.abs(value) >= 2 ** (exponent + 1)
			? exponent + 1
			: Math.abs(value) < 2 ** exponent && exponent > exponentMin
				? exponent - 1
				: exponent;
	const rounded = roundTo(value, 2 ** (exact - bits + 1));
	return Math.abs(rounded) > largest ? Math.sign(value) * Number.POSITIVE_INFINITY : rounded;
}

const bf16Largest = (2 - 2 ** -7) * 2 ** 127;
const anyFloat = fc.oneof(
	fc.float({noNaN: true}),
	fc.float({min: Math.fround(-1e5), max: Math.fround(1e5), noNaN: true}),
	fc.float({min: Math.fround(-1e-4), max: Math.fround(1e-4), noNaN: true}),
	fc.integer({min: -70_000, max: 70_000}),
);

test('bf16 is the nearest value with 8 bits, ties to even', t => {
	fc.assert(
		fc.property(anyFloat, value =>
			t.is(through([value], 'bf16')[0]! + 0, nearest(Math.fround(value), 8, -126, bf16Largest) + 0),
		),
		{numRuns: 20_000},
	);
});

test('f16 is the nearest value with 11 bits, ties to even, small ones included', t => {
	fc.assert(
		fc.property(anyFloat, value =>
			t.is(through([value], 'f16')[0]! + 0, nearest(Math.fround(value), 11, -14, 65_504) + 0),
		),
		{numRuns: 20_000},
	);
});

test('known halves: ties, the largest value, the step to infinity, the smallest value', t => {
	const pairs: [number, number][] = [
		[1 + 2 ** -11, 1],
		[1 + 3 * 2 ** -11, 1 + 2 ** -9],
		[65_504, 65_504],
		[65_519.99, 65_504],
		[65_520, Number.POSITIVE_INFINITY],
		[-1e6, Number.NEGATIVE_INFINITY],
		[2 ** -24, 2 ** -24],
		[2 ** -25, 0],
		[1.5 * 2 ** -24, 2 ** -23],
		[2 ** -14 - 2 ** -25, 2 ** -14],
	];
	for (const [value, half] of pairs) t.is(through([value], 'f16')[0], half, String(value));
});

test('every f16 and bf16 goes to f32 and back unchanged, and NaN stays NaN', t => {
	for (const dtype of ['f16', 'bf16'] as const) {
		const bits = Uint16Array.from({length: 65_536}, (_, at) => at);
		const wide = fromWireFormat({dtype, shape: [65_536], bytes: new Uint8Array(bits.buffer)});
		const back = new Uint16Array(toWireFormat(wide, dtype).bytes.buffer);
		const values = f32View(wide);
		for (let at = 0; at < 65_536; at++) {
			if (Number.isNaN(values[at]!)) t.true(Number.isNaN(through([values[at]!], dtype)[0]!));
			else if (back[at] !== at) t.fail(`${dtype} ${at} became ${back[at]}`);
		}
	}
});

test('i8 errs by half a step of its row at most, and the largest magnitude is kept', t => {
	const row = fc.array(fc.float({min: -1000, max: 1000, noNaN: true}), {minLength: 5, maxLength: 5});
	fc.assert(
		fc.property(fc.array(row, {minLength: 1, maxLength: 6}), rows => {
			const got = through(rows.flat(), 'i8', [rows.length, 5]);
			for (const [index, values] of rows.entries()) {
				const step = Math.max(...values.map(Math.abs)) / 127;
				for (const [column, value] of values.entries()) {
					const error = Math.abs(got[5 * index + column]! - value);
					t.true(error <= step / 2 + step * 1e-4 + 2 ** -150, `${value} became ${got[5 * index + column]}`);
				}
			}
		}),
		{numRuns: 2000},
	);
});

test('i8 keeps the largest magnitude of a row among the least numbers of f32', t => {
	for (const units of [1, 24, 126, 127, 128, 190, 12_701, 2 ** 20 + 1]) {
		const value = units * 2 ** -149;
		const [got] = through([value, -value, 0, 0], 'i8', [1, 4]);
		t.true(Math.abs(got! - value) <= 2 ** -150 * Math.ceil(units / 127), `${units} units became ${got! / 2 ** -149}`);
	}
});

test('i8 of whole numbers up to 127 is exact, and a row of zeros stays zero', t => {
	const values = [127, -127, 3, -64, 0, 0, 0, 0];
	t.deepEqual([...through(values, 'i8', [2, 4])], values);
	t.is(toWireFormat(tensorOf(Float32Array.from(values), [2, 4]), 'i8').bytes.length, byteLengthOf('i8', [2, 4]));
});

test('what is not finite is still not finite in every format, so that it is refused', t => {
	for (const format of ['f32', 'bf16', 'f16', 'i8'] as const) {
		for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
			const tensor = toWireFormat(tensorOf(Float32Array.of(1, value, 2, 3), [2, 2]), format);
			t.false(isFiniteTensor(tensor), `${format} ${value}`);
		}
	}
});

test('f32 is passed on as it is, and unaligned bytes are read', t => {
	const tensor = tensorOf(Float32Array.of(1, 2), [2]);
	t.is(toWireFormat(tensor, 'f32'), tensor);
	t.is(fromWireFormat(tensor), tensor);
	for (const format of ['bf16', 'f16', 'i8'] as const) {
		const {bytes, ...description} = toWireFormat(tensorOf(Float32Array.of(1, 2, -3, 127), [2, 2]), format);
		const memory = new Uint8Array(bytes.length + 1);
		memory.set(bytes, 1);
		const moved: Tensor = {...description, bytes: memory.subarray(1)};
		t.deepEqual(fromWireFormat(moved), fromWireFormat({...description, bytes}));
	}
	t.throws(() => fromWireFormat(tensorOf(Int32Array.of(1), [1])), {message: /Expected a wire format, got i32/});
});
