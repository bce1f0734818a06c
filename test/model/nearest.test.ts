/**
The nearest embedding of an activation: against a search by two loops in float64, at cuts where it must find everything, and
where it can only guess.
*/
import test from 'ava';
import {tensorOf} from '../../protocols/tensor.ts';
import {LocalCompute} from '../../runtime/compute/local.ts';
import {knownTokens, type Recovered} from '../../runtime/compute/probe.ts';
import {nearestTokens, referencesOf} from '../../runtime/model/nearest.ts';
import {SplitModel} from '../../runtime/model/split.ts';
import {randomStream} from '../../runtime/random.ts';
import {openWeights} from '../../runtime/weights/load.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {goldenPath} from '../_helpers/golden.ts';
import {randomBatch} from '../_helpers/tiny-run.ts';

const normal = (count: number, ...key: (string | number)[]) => {
	const stream = randomStream(...key);
	return Float32Array.from({length: count}, () => stream.normal());
};

const bare = {alpha: 1, isRankStabilised: false, tensors: {}};

/** The first of the largest. */
const argmax = (scores: readonly number[]) => scores.indexOf(Math.max(...scores));

test('the nearest rows by angle and by distance are those of a search by loops', async t => {
	const {kernels} = await nativeBackend();
	const [vocabulary, hidden, count] = [97, 12, 40];
	const embedding = normal(vocabulary * hidden, 1, 'embedding');
	// Unlike lengths, and one row of zeros, to which no angle exists.
	for (let i = 0; i < embedding.length; i++) embedding[i]! *= (Math.floor(i / hidden) % 7) / 3;
	const rows = normal(count * hidden, 2, 'rows');
	const found = kernels.scope(() => {
		const tokens = kernels.upload(embedding, [vocabulary, hidden]);
		return nearestTokens(kernels, referencesOf(kernels, tokens), kernels.upload(rows, [count, hidden]));
	});
	const of = (values: Float32Array, row: number) => [...values.subarray(row * hidden, (row + 1) * hidden)];
	for (let row = 0; row < count; row++) {
		const x = of(rows, row);
		const tokens = Array.from({length: vocabulary}, (_, token) => of(embedding, token));
		const cosines = tokens.map(e => x.reduce((sum, value, i) => sum + value * e[i]!, 0) / (Math.hypot(...e) || 1));
		t.is(found.cosine[row], argmax(cosines));
		t.is(found.euclidean[row], argmax(tokens.map(e => -Math.hypot(...x.map((value, i) => value - e[i]!)))));
	}
	t.true(new Set(found.cosine).size > 10);
	t.notDeepEqual(found.cosine, found.euclidean);
});

for (const name of ['tiny-gpt2', 'tiny-llama']) {
	test(`${name}: embeddings as they are name every token, and activations of other tokens one in a vocabulary`, async t => {
		const backend = await nativeBackend();
		const source = await openWeights(goldenPath(`${name}/model`));
		const model = await SplitModel.load(source, backend, {from: 0, to: 0, hasEmbedding: true, hasHead: false});
		const {vocabulary, hidden} = source.config;
		const compute = new LocalCompute(backend, source);
		await compute.run({actor: 'spy', pass: 'open', input: {kind: 'probe', heads: [2]}, tensors: {}});
		const total: Record<string, number> = {};
		for (let index = 0; index < 40; index++) {
			const {ids, lengths, targetPositions, labels} = randomBatch(vocabulary, 'probe', index);
			const activations = model.infer({ids, lengths}, bare);
			const order = randomStream(index, 'order').shuffle([...ids.keys()]);
			const permuted = Float32Array.from({length: activations.length}, (_, i) => {
				return activations[order[Math.floor(i / hidden)]! * hidden + (i % hidden)]!;
			});
			for (const [kind, values] of Object.entries({activations, permuted, noise: normal(activations.length, index)})) {
				const tensors = {
					activations: tensorOf(values, [ids.length, hidden]),
					targetPositions: tensorOf(targetPositions, [targetPositions.length]),
					labels: tensorOf(labels, [labels.length]),
				};
				const {output} = await compute.run({actor: 'spy', pass: 'recover', input: {lengths, cut: 0}, tensors});
				const {tokens, cosine, euclidean} = output as Recovered;
				for (const [key, value] of Object.entries({tokens, cosine, euclidean}))
					total[`${kind}.${key}`] = (total[`${kind}.${key}`] ?? 0) + value;
			}
		}
		const tokens = total['activations.tokens']!;
		t.true(tokens > 150);
		t.is(total['activations.euclidean'], tokens);
		t.is(total['activations.cosine'], tokens);
		// A permuted row may have stayed, and ids repeat: about 1 in 12, and by noise 1 in 512.
		t.true(total['permuted.cosine']! < 0.2 * tokens, `${total['permuted.cosine']} of ${tokens}`);
		t.true(total['noise.cosine']! <= 4 && total['noise.euclidean']! <= 4, JSON.stringify(total));
		// Behind two blocks each token after the prefix of the references is named by its reference, and by no embedding.
		const head = await SplitModel.load(source, backend, {from: 0, to: 2, hasEmbedding: true, hasHead: false});
		const lengths = Array.from({length: 50}, () => 3);
		const ids = Int32Array.from(lengths.flatMap((_, row) => [0, 28, 7 * row]));
		const tensors = {
			activations: tensorOf(head.infer({ids, lengths}, bare), [ids.length, hidden]),
			targetPositions: tensorOf(
				Int32Array.from(lengths, (_, row) => 3 * row + 1),
				[50],
			),
			labels: tensorOf(
				Int32Array.from(lengths, (_, row) => 7 * row),
				[50],
			),
		};
		const {output} = await compute.run({actor: 'spy', pass: 'recover', input: {lengths, cut: 2}, tensors});
		t.like(output as Recovered, {tokens: 50, throughHead: 50});
		head.dispose();
		await compute.close();
		model.dispose();
		await source.close();
	});
}

test('labels tell the tokens behind their positions, but none across the beginning of a row', t => {
	// Rows of 3 and 2 tokens; the labels at the rows' ends tell what is not in the batch.
	const known = knownTokens([3, 2], Int32Array.from([0, 1, 2, 3, 4, -5]), Int32Array.from([11, 12, 13, 14, 15, 16]));
	t.deepEqual(known, [
		[1, 11],
		[2, 12],
		[4, 14],
	]);
});
