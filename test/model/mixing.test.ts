import test from 'ava';
import fc from 'fast-check';
import {normWeights, truncatedProducts, zeroPadded} from '../../runtime/model/combine-ranks.ts';
import type {AdapterTensor, AdapterTensors} from '../../runtime/model/lora.ts';
import {addedDelta, meanAndResidual, stacked, withDelta} from '../../runtime/model/overlay.ts';
import {atRank} from '../../runtime/model/ranks.ts';
import {svdOfProduct} from '../../runtime/model/svd.ts';
import {randomStream} from '../../runtime/random.ts';
import {goldenJson, goldenTensors} from '../_helpers/golden.ts';

const golden = await goldenTensors('aggregation/aggregation.f32.safetensors');
const facts = goldenJson<{
	het: {ranks: number[]; w: number[]; sparsity_weights: number[]; singular_values: number[]};
}>('aggregation/golden.json').het;
const [inputs, outputs] = [6, 5];

const values = (name: string) => golden.get(name)!.values;
const pair = (a: Float32Array, b: Float32Array, width = inputs, height = outputs): AdapterTensors => ({
	'block.0.q.A': {shape: [a.length / width, width], values: a},
	'block.0.q.B': {shape: [height, b.length / height], values: b},
});
const uploads = facts.ranks.map((_, index) => pair(values(`het.in.${index}.A`), values(`het.in.${index}.B`)));
const [a, b] = ['block.0.q.A', 'block.0.q.B'] as const;
const unscaled = {alpha: 1, isRankStabilised: false, scaling: 1};
const alpha8 = {alpha: 8, isRankStabilised: false};

/** `scale B A`, row-major. */
function product(adapter: AdapterTensors, scale = 1): number[] {
	const [left, right] = [adapter[b] as AdapterTensor, adapter[a] as AdapterTensor];
	const [height, rank] = left.shape;
	const [, width] = right.shape;
	return Array.from({length: height * width}, (_, place) => {
		const [row, column] = [Math.floor(place / width), place % width];
		let sum = 0;
		for (let k = 0; k < rank; k++) sum += left.values[row * rank + k]! * right.values[k * width + column]!;
		return scale * sum;
	});
}

const distance = (found: Iterable<number>, expected: Iterable<number>) => {
	const other = [...expected];
	const all = [...found];
	return all.length === other.length ? Math.max(...all.map((value, i) => Math.abs(value - other[i]!))) : Number.NaN;
};

test('zero-padding and its truncations equal the golden ones', t => {
	const mean = zeroPadded(uploads, facts.w, 8);
	t.true(distance(mean[a]!.values, values('het.zeropad.A')) < 1e-6);
	t.true(distance(mean[b]!.values, values('het.zeropad.B')) < 1e-6);
	for (const rank of facts.ranks) {
		const own = atRank(mean, rank);
		t.deepEqual(own[a]!.shape, [rank, inputs]);
		t.true(distance(own[a]!.values, values(`het.zeropad.truncated.${rank}.A`)) < 1e-6);
		t.true(distance(own[b]!.values, values(`het.zeropad.truncated.${rank}.B`)) < 1e-6);
	}
});

test('weights by norm are those of the products, without forming them', t => {
	const weights = normWeights(uploads);
	t.true(distance(weights, facts.sparsity_weights) < 1e-6);
	t.true(distance(zeroPadded(uploads, weights, 8)[b]!.values, values('het.sparsity_weighted.B')) < 1e-6);
	t.deepEqual(normWeights([pair(new Float32Array(6), new Float32Array(5))]), [1]);
});

test('the truncated products are the golden ones of each rank, with scaling 1 and with alpha over rank', t => {
	const plain = truncatedProducts(uploads, facts.w, {rank: 8, scaling: unscaled});
	const scaled = truncatedProducts(uploads, facts.w, {rank: 8, scaling: alpha8});
	for (const rank of facts.ranks) {
		t.true(distance(product(atRank(plain, rank)), values(`het.svd.rank${rank}.BA`)) < 1e-5);
		const own = atRank(scaled, rank, alpha8);
		t.true(distance(product(own), values(`het.svd_alpha8.rank${rank}.BA`)) < 1e-5);
		t.true(distance(product(own, 8 / rank), values(`het.svd_alpha8.rank${rank}.effective`)) < 1e-5);
	}
});

test('stacking is the golden one and exactly the mean of the products', t => {
	const delta = stacked(uploads, facts.w, unscaled);
	t.true(distance(delta[a]!.values, values('het.stack.A')) < 1e-6);
	t.true(distance(delta[b]!.values, values('het.stack.B')) < 1e-6);
	t.true(distance(product(stacked(uploads, facts.w, alpha8)), values('het.weighted_product_alpha8')) < 1e-5);
});

test('mean and residual together are the golden average of products, which the mean alone is not', t => {
	const equal = [0, 1, 2].map(index => pair(values(`fedavg.in.${index}.A`), values(`fedavg.in.${index}.B`), 5));
	const {mean, residual} = meanAndResidual(equal, [0.3, 0.5, 0.2], unscaled);
	const expected = values('fedavg.average_of_products');
	t.true(distance(product(mean), values('fedavg.out.product_of_averages')) < 1e-6);
	t.true(distance(product(mean), expected) > 1.8);
	const both = product(mean).map((value, index) => value + product(residual)[index]!);
	t.true(distance(both, expected) < 1e-5);
});

test('a delta grows to the rank of a full matrix and stays the same sum', t => {
	const delta = stacked(uploads, facts.w, unscaled);
	let sum = addedDelta(undefined, delta);
	for (let round = 2; round <= 4; round++) {
		sum = addedDelta(sum, delta);
		t.deepEqual(sum[a]!.shape, [5, 6]);
		t.true(
			distance(
				product(sum),
				[...values('het.weighted_product')].map(value => round * value),
			) < 1e-5,
		);
	}
});

test('an adapter with a delta is one adapter of a higher rank', t => {
	const delta = stacked(uploads.slice(1, 2), [1], unscaled);
	const one = withDelta(uploads[0]!, delta, alpha8);
	t.deepEqual(one[a]!.shape, [6, 6]);
	const expected = product(uploads[0]!, 8 / 2).map((value, index) => value + product(delta)[index]!);
	t.true(distance(product(one, 8 / 6), expected) < 1e-5);
});

test('the decomposition gives any product back with orthonormal vectors and falling values', t => {
	fc.assert(
		fc.property(fc.integer(), fc.integer({min: 1, max: 9}), fc.integer({min: 1, max: 7}), (seed, terms, size) => {
			const random = randomStream(seed, 'svd');
			const columns = (length: number) =>
				Array.from({length: terms}, (_, index) =>
					// Every third column is zero: ranks below the number of terms come up.
					Float64Array.from({length}, () => (index % 3 === 2 ? 0 : 2 * random.float() - 1)),
				);
			const [left, right] = [columns(size), columns(size + 2)];
			const svd = svdOfProduct(left, right);
			for (const [k, sigma] of svd.sigma.entries()) if (k > 0) t.true(sigma <= svd.sigma[k - 1]!);
			const worst = (vectors: readonly Float64Array[], scales: readonly number[], others: readonly Float64Array[]) => {
				let max = 0;
				for (let y = 0; y < size; y++) {
					for (let x = 0; x < size + 2; x++) {
						const found = scales.reduce((sum, scale, k) => sum + scale * vectors[k]![y]! * others[k]![x]!, 0);
						const expected = left.reduce((sum, column, k) => sum + column[y]! * right[k]![x]!, 0);
						max = Math.max(max, Math.abs(found - expected));
					}
				}
				return max;
			};
			t.true(worst(svd.left, svd.sigma, svd.right) < 1e-10);
			const live = svd.sigma.filter(sigma => sigma > 1e-9).length;
			for (const side of [svd.left, svd.right]) {
				for (let p = 0; p < live; p++) {
					for (let q = p; q < live; q++) {
						const dot = side[p]!.reduce((sum, value, place) => sum + value * side[q]![place]!, 0);
						t.true(Math.abs(dot - (p === q ? 1 : 0)) < 1e-6);
					}
				}
			}
		}),
		{numRuns: 100},
	);
});
