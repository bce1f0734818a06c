import {readFileSync} from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import {batchesOf, packBatch} from '../../runtime/data/batches.ts';
import {readCsv} from '../../runtime/data/corpus.ts';
import {cutExample, type Example, encodeRow, tokeniseRows} from '../../runtime/data/examples.ts';
import type {Row} from '../../runtime/data/row.ts';
import {openTokenizer} from '../../runtime/data/tokenizer.ts';
import {randomStream} from '../../runtime/random.ts';
import {testWith} from '../_helpers/optional.ts';
import {sharedFolder, smollm2Path} from '../_helpers/shared.ts';

/** One id a character, for tests without a vocabulary. */
const characters = {encode: (text: string) => [...text].map(character => character.codePointAt(0)!), eosId: 0};

/** Examples of random lengths from 2 to 61. */
function randomExamples(count: number): Example[] {
	const random = randomStream('batches test', count);
	return Array.from({length: count}, () => {
		const length = random.integer(2, 61);
		const ids = Int32Array.from({length}, () => random.integer(0, 1e6));
		return {ids, promptLength: random.integer(0, length - 1)};
	});
}

const epochRows = (cursor: ReturnType<typeof batchesOf>, epoch: number) =>
	Array.from({length: cursor.batchesPerEpoch}, (_, index) => cursor.rowsAt(epoch * cursor.batchesPerEpoch + index));

test('a row is a prompt, a completion and the end of the text', t => {
	const row: Row = {kind: 'meaning', source: 'n[A]', target: 'B'};
	const {ids, promptLength} = encodeRow(row, characters);
	t.is(String.fromCodePoint(...ids), 'n[A] || B\0');
	t.is(promptLength, 7);
});

test('targets are the completion and the end of text, at the rows that predict them', t => {
	const batch = packBatch([
		{ids: Int32Array.of(1, 2, 3, 4, 0), promptLength: 2},
		{ids: Int32Array.of(5, 6, 0), promptLength: 0},
		{ids: Int32Array.of(7, 0), promptLength: 1},
	]);
	t.deepEqual(batch, {
		ids: Int32Array.of(1, 2, 3, 4, 0, 5, 6, 0, 7, 0),
		lengths: [5, 3, 2],
		targetPositions: Int32Array.of(1, 2, 3, 5, 6, 8),
		labels: Int32Array.of(3, 4, 0, 6, 0, 0),
	});
});

test('a long row loses the end of its completion, or the beginning of a prompt that leaves it no room', t => {
	const example = {ids: Int32Array.from({length: 10}, (_, index) => index), promptLength: 4};
	t.is(cutExample(example, 10).ids, example.ids);
	t.deepEqual(cutExample(example, 8), {ids: Int32Array.of(0, 1, 2, 3, 4, 5, 6, 7), promptLength: 4});
	t.deepEqual(cutExample(example, 4), {ids: Int32Array.of(2, 3, 4, 5), promptLength: 2});
	t.deepEqual(cutExample({...example, promptLength: 9}, 4), {ids: Int32Array.of(6, 7, 8, 9), promptLength: 3});
	t.deepEqual(cutExample({...example, promptLength: 0}, 3), {ids: Int32Array.of(0, 1, 2), promptLength: 0});
	fc.assert(
		fc.property(
			fc.nat(40),
			fc.integer({min: 1, max: 40}),
			fc.integer({min: 2, max: 30}),
			(prompt, completion, tokensMax) => {
				const ids = Int32Array.from({length: prompt + completion}, (_, index) => index);
				const cut = cutExample({ids, promptLength: prompt}, tokensMax);
				t.is(cut.ids.length, Math.min(ids.length, tokensMax));
				t.true(cut.promptLength < cut.ids.length);
				t.is(cut.ids[cut.promptLength], prompt);
				t.true(cut.ids.every((id, index) => index === 0 || id === cut.ids[index - 1]! + 1));
			},
		),
	);
});

test('rows are tokenised when they are asked for, once, and cut ones are counted', t => {
	let encoded = 0;
	const counting = {
		...characters,
		encode(text: string) {
			encoded++;
			return characters.encode(text);
		},
	};
	const rows: Row[] = Array.from({length: 50}, (_, index) => ({
		kind: 'text',
		source: '',
		target: 'x'.repeat(index + 1),
	}));
	const examples = tokeniseRows(rows, counting, {tokensMax: 41});
	t.is(encoded, 0);
	t.is(examples.at(49)!.ids.length, 41);
	t.is(examples.at(49), examples.at(49));
	t.is(encoded, 2);
	t.is(examples.cutRows, 1);
	for (let index = 0; index < 50; index++) examples.at(index);
	t.is(examples.cutRows, 10);
	t.is(encoded, 100);
	t.is(examples.at(50), undefined);
});

test('an epoch has each row once, in any order and size', t => {
	const sizes = fc.record({
		count: fc.integer({min: 1, max: 200}),
		batchSize: fc.integer({min: 1, max: 17}),
		bucketRows: fc.option(fc.integer({min: 1, max: 80}), {nil: undefined}),
		order: fc.constantFrom('sequential' as const, 'shuffled' as const),
		epoch: fc.integer({min: 0, max: 3}),
		seed: fc.nat(),
	});
	fc.assert(
		fc.property(sizes, ({count, batchSize, bucketRows, order, epoch, seed}) => {
			const options = {batchSize, order, seed, owner: 'a', ...(bucketRows ? {bucketRows} : {})};
			const cursor = batchesOf(randomExamples(count), options);
			const batches = epochRows(cursor, epoch);
			t.deepEqual(
				batches.flat().toSorted((a, b) => a - b),
				Array.from({length: count}, (_, index) => index),
			);
			const short = batches.filter(rows => rows.length !== batchSize);
			t.deepEqual(
				short.map(rows => rows.length),
				count % batchSize === 0 ? [] : [count % batchSize],
			);
		}),
	);
});

test('the k-th batch depends on its key alone, not on what was asked for before', t => {
	const examples = randomExamples(101);
	const options = {batchSize: 4, seed: 7, owner: 'client-1'};
	const cursor = batchesOf(examples, options);
	const inOrder = Array.from({length: 80}, (_, index) => cursor.batchAt(index));
	for (const index of [79, 3, 26, 52, 0, 25, 51]) {
		t.deepEqual(batchesOf(examples, options).batchAt(index), inOrder[index]);
		t.deepEqual(cursor.batchAt(index), inOrder[index]);
	}
	const other = (change: object) => batchesOf(examples, {...options, ...change}).batchAt(0);
	t.notDeepEqual(other({owner: 'client-2'}), inOrder[0]);
	t.notDeepEqual(other({seed: 8}), inOrder[0]);
	t.notDeepEqual(inOrder[26], inOrder[0]);
});

test('sequential batches are the rows as they stand, every epoch', t => {
	const cursor = batchesOf(randomExamples(10), {batchSize: 4, seed: 1, owner: 'a', order: 'sequential'});
	t.is(cursor.batchesPerEpoch, 3);
	t.deepEqual(epochRows(cursor, 0), [
		[0, 1, 2, 3],
		[4, 5, 6, 7],
		[8, 9],
	]);
	t.deepEqual(epochRows(cursor, 5), epochRows(cursor, 0));
});

test('rows of a batch are about as long, but batches come in no order of length', t => {
	const examples = randomExamples(4000);
	const cursor = batchesOf(examples, {batchSize: 8, seed: 3, owner: 'a'});
	const batches = epochRows(cursor, 0).map(rows => rows.map(row => examples[row]!.ids.length));
	const padding = (lengths: number[]) =>
		1 - lengths.reduce((sum, length) => sum + length, 0) / (lengths.length * Math.max(...lengths));
	const meanPadding = batches.reduce((sum, lengths) => sum + padding(lengths), 0) / batches.length;
	const unsorted = batchesOf(examples, {batchSize: 8, seed: 3, owner: 'a', bucketRows: 8});
	const unsortedLengths = epochRows(unsorted, 0).map(rows => rows.map(row => examples[row]!.ids.length));
	const unsortedPadding = unsortedLengths.reduce((sum, lengths) => sum + padding(lengths), 0) / batches.length;
	t.true(meanPadding < 0.16 && unsortedPadding > 0.35, `${meanPadding} ${unsortedPadding}`);
	const longest = batches.map(lengths => Math.max(...lengths));
	const rises = longest.filter((length, index) => index > 0 && length > longest[index - 1]!).length;
	t.true(rises > 0.4 * longest.length && rises < 0.6 * longest.length);
});

test('only the buckets that are reached are tokenised', t => {
	const rows: Row[] = Array.from({length: 1000}, (_, index) => ({kind: 'text', source: '', target: `${index}`}));
	let encoded = 0;
	const counting = {
		eosId: 0,
		encode(text: string) {
			encoded++;
			return characters.encode(text);
		},
	};
	const cursor = batchesOf(tokeniseRows(rows, counting, {tokensMax: 10}), {batchSize: 4, seed: 1, owner: 'a'});
	for (let index = 0; index < 8; index++) cursor.batchAt(index);
	t.is(encoded, 2 * 32);
});

test('a shard of one row gives that row for ever; an empty one has no batches and says so', t => {
	const one = batchesOf(randomExamples(1), {batchSize: 8, seed: 1, owner: 'a'});
	t.is(one.batchesPerEpoch, 1);
	t.deepEqual(one.batchAt(99), one.batchAt(0));
	const none = batchesOf([], {batchSize: 8, seed: 1, owner: 'client-3'});
	t.is(none.batchesPerEpoch, 0);
	t.throws(() => none.batchAt(0), {message: /client-3 has no examples/});
});

const testWithE2e = testWith(smollm2Path, sharedFolder);

testWithE2e('E2E rows become the ids and prompt lengths of the reference', async t => {
	const tokenizer = await openTokenizer(smollm2Path!);
	const reference = JSON.parse(readFileSync(`${sharedFolder}/golden/smollm2/e2e_ids.json`, 'utf8'));
	for (const [file, key] of [
		['devset.csv', 'dev_first64'],
		['trainset.csv', 'train_first160'],
	] as const) {
		const expected = reference[key] as {ids: number[]; prompt_len: number}[];
		const rows = await readCsv(`${sharedFolder}/data/e2e/${file}`, {rowsMax: expected.length});
		for (const [index, {ids, prompt_len: promptLength}] of expected.entries()) {
			t.deepEqual(encodeRow(rows[index]!, tokenizer), {ids: Int32Array.from(ids), promptLength});
		}
	}
});
