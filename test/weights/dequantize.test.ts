import {readFileSync} from 'node:fs';
import test from 'ava';
import {openGguf} from '../../runtime/weights/gguf.ts';
import {f16Table} from '../../runtime/weights/half.ts';
import {openSafetensors} from '../../runtime/weights/safetensors.ts';
import {golden} from './folder.ts';

test('every block format decodes to the very bits of the reference decoder', async t => {
	const file = await openGguf(golden('gguf/blocks.gguf'));
	const reference = await openSafetensors(golden('gguf/blocks.safetensors'));
	const names = [...reference.entries.keys()].toSorted();
	t.deepEqual(names, ['bf16', 'f16', 'f32', 'q4_0', 'q4_1', 'q4_k', 'q5_0', 'q5_1', 'q6_k', 'q8_0']);
	for (const name of names) {
		const values = await file.readF32(name);
		const expected = await reference.readF32(name);
		t.is(values.length, 3 * 512);
		t.deepEqual(new Uint32Array(values.buffer), new Uint32Array(expected.buffer), name);
	}
	await file.close();
	await reference.close();
});

test("the table of half-precision values has numpy's count of finite numbers and sum of squares", t => {
	const {halves, halves_f64_sum_of_squares: expected} = JSON.parse(readFileSync(golden('gguf/names.json'), 'utf8'));
	const finite = f16Table().filter(Number.isFinite);
	t.is(finite.length, halves);
	const sum = finite.reduce((total, value) => total + value * value, 0);
	t.true(Math.abs(sum / expected - 1) < 1e-12);
	t.is(f16Table()[0x3c00], 1);
	t.is(f16Table()[0xc000], -2);
	t.is(f16Table()[0x0001], 2 ** -24);
	t.is(f16Table()[0xfc00], Number.NEGATIVE_INFINITY);
	t.true(Number.isNaN(f16Table()[0x7e00]));
});
