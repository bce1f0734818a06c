import test from 'ava';
import fc from 'fast-check';
import {dropoutMask} from '../../runtime/model/dropout.ts';
import {
	blocksOf,
	cloneAdapter,
	fromNamedTensors,
	initAdapter,
	placeOf,
	scalingOf,
	sizeOfAdapter,
	toNamedTensors,
} from '../../runtime/model/lora.ts';
import {keyWords} from '../../runtime/random.ts';
import {gpt2Small} from '../_helpers/gpt2-small.ts';

test('A starts uniform within 1/sqrt(in), B at exactly zero', t => {
	const adapter = initAdapter(gpt2Small, {rank: 4, targets: ['q', 'down']}, {from: 0, to: 2}, 7);
	const a = adapter['block.1.down.A']!;
	t.deepEqual(a.shape, [4, 3072]);
	const bound = 1 / Math.sqrt(3072);
	t.true(a.values.every(value => Math.abs(value) <= bound));
	const meanSquare = a.values.reduce((sum, value) => sum + value * value, 0) / a.values.length;
	t.true(Math.abs(meanSquare / (bound ** 2 / 3) - 1) < 0.03, 'variance of a uniform distribution');
	t.deepEqual(adapter['block.1.down.B']!.shape, [768, 4]);
	t.true(adapter['block.1.down.B']!.values.every(value => Object.is(value, 0)));
});

test('A depends on seed, block and projection and on nothing else', t => {
	const whole = initAdapter(gpt2Small, {rank: 2, targets: ['q', 'v']}, {from: 0, to: 4}, 's');
	const part = initAdapter(gpt2Small, {rank: 2, targets: ['v']}, {from: 2, to: 3}, 's');
	t.deepEqual(part['block.2.v.A'], whole['block.2.v.A']);
	t.notDeepEqual(whole['block.2.q.A'], whole['block.2.v.A']);
	t.notDeepEqual(whole['block.1.v.A'], whole['block.2.v.A']);
	t.notDeepEqual(
		initAdapter(gpt2Small, {rank: 2, targets: ['v']}, {from: 2, to: 3}, 'other')['block.2.v.A'],
		part['block.2.v.A'],
	);
});

test('q and v of GPT-2 small at rank 4 have 2r(H + H) values a block', t => {
	const adapter = initAdapter(gpt2Small, {rank: 4, targets: ['q', 'v']}, {from: 0, to: 12}, 1);
	t.is(sizeOfAdapter(adapter), 147_456);
	t.is(sizeOfAdapter(blocksOf(adapter, {from: 0, to: 3})), 36_864);
	t.deepEqual(Object.keys(blocksOf(adapter, {from: 3, to: 3})), []);
});

test('scaling is alpha over r, or over its root when rank-stabilised', t => {
	t.is(scalingOf({alpha: 32, isRankStabilised: false}, 4), 8);
	t.is(scalingOf({alpha: 32, isRankStabilised: true}, 4), 16);
});

test('a projection the model has not is refused with the ones it has', t => {
	const error = t.throws(() => placeOf(gpt2Small, 'gate'), {code: 'scenario-invalid'});
	t.regex(error.message, /`gate`.*q, k, v, qkv, o, up, down/s);
	t.throws(() => placeOf({...gpt2Small, family: 'llama'}, 'qkv'), {code: 'scenario-invalid'});
});

test('an adapter crosses a boundary without a copy, and a clone shares nothing', t => {
	const adapter = initAdapter(gpt2Small, {rank: 2, targets: ['q']}, {from: 0, to: 1}, 1);
	const back = fromNamedTensors(toNamedTensors(adapter));
	t.deepEqual(back, adapter);
	t.is(back['block.0.q.A']!.values.buffer, adapter['block.0.q.A']!.values.buffer);
	const clone = cloneAdapter(adapter);
	clone['block.0.q.A']!.values[0] = 5;
	t.not(adapter['block.0.q.A']!.values[0], 5);
	t.throws(() => fromNamedTensors({x: {dtype: 'f32', shape: [3], bytes: new Uint8Array(12)}}), {message: /matrix/});
});

test('a dropout mask depends on its owner, not on who else is in the batch or which rows are computed', t => {
	fc.assert(
		fc.property(
			fc.integer({min: 1, max: 6}),
			fc.integer({min: 1, max: 6}),
			fc.integer({min: 1, max: 9}),
			(before, rows, columns) => {
				const own = {key: keyWords('own'), rows};
				const place = {block: 3, projection: 'q' as const, columns};
				const alone = dropoutMask({probability: 0.4, groups: [own]}, place);
				const beside = dropoutMask({probability: 0.4, groups: [{key: keyWords('other'), rows: before}, own]}, place);
				t.deepEqual(beside.subarray(before * columns), alone);
				const last = dropoutMask({probability: 0.4, groups: [own]}, place, Int32Array.of(rows - 1));
				t.deepEqual(last, alone.subarray((rows - 1) * columns));
			},
		),
	);
});

test('a dropout mask keeps the stated share, scaled so that the mean is 1, and differs between blocks, projections and keys', t => {
	const columns = 768;
	const mask = (block: number, projection: 'q' | 'v', key: string) =>
		dropoutMask({probability: 0.1, groups: [{key: keyWords(key), rows: 256}]}, {block, projection, columns});
	const reference = mask(0, 'q', 'a');
	const dropped = reference.filter(value => value === 0).length / reference.length;
	t.true(Math.abs(dropped - 0.1) < 0.003, `${dropped}`);
	t.true(reference.every(value => value === 0 || Math.abs(value - 1 / 0.9) < 1e-6));
	for (const other of [mask(1, 'q', 'a'), mask(0, 'v', 'a'), mask(0, 'q', 'b')]) {
		const both = other.filter((value, index) => value === 0 && reference[index] === 0).length / other.length;
		t.true(Math.abs(both - 0.01) < 0.002, `masks are dropped together with frequency ${both}`);
	}
	const pairs = reference.filter((value, index) => value === 0 && reference[index + 1] === 0).length / reference.length;
	t.true(Math.abs(pairs - 0.01) < 0.002, 'neighbours are independent');
});
