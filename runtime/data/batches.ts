/**
Examples as packed batches in an order that depends on its key alone: the k-th batch is the same whoever asks for it, and when.
*/
import {randomStream} from '../random.ts';
import type {Example, ExampleSource} from './examples.ts';

/**
Rows one after another without padding, and where the loss is taken.
`ids` are `[tokens]`; the j-th loss is that of `labels[j]` as the successor of packed row `targetPositions[j]`.
*/
export type PackedBatch = {
	readonly ids: Int32Array;
	/** Tokens a row. */
	readonly lengths: number[];
	readonly targetPositions: Int32Array;
	readonly labels: Int32Array;
};

export type BatchOptions = {
	/** Rows a batch; the last of an epoch may have fewer. */
	readonly batchSize: number;
	/** The run's seed. */
	readonly seed: number;
	/** Whose data it is: orders are keyed by seed, owner and epoch. */
	readonly owner: string;
	/** `sequential` keeps the order of the examples; default `shuffled`. */
	readonly order?: 'sequential' | 'shuffled';
	/** Rows that are sorted by length together, so that rows of a batch are about as long; default 8 batches. */
	readonly bucketRows?: number;
};

/** Batches without end, epoch after epoch. */
export type BatchCursor = {
	/** 0 when there are no examples; then there are no batches. */
	readonly batchesPerEpoch: number;
	/** Places of the examples in the k-th batch, k from 0. */
	rowsAt(index: number): number[];
	/** The k-th batch, k from 0: cheap when batches are asked for in about their order. */
	batchAt(index: number): PackedBatch;
};

/** Batches of the examples. A shard without examples has none, and asking for one is an error. */
export function batchesOf(examples: ExampleSource, options: BatchOptions): BatchCursor {
	const {batchSize} = options;
	const batchesPerEpoch = Math.ceil(examples.length / batchSize);
	const rowsOf = options.order === 'sequential' ? sequential(examples, options) : shuffled(examples, options);
	const rowsAt = (index: number) => {
		if (batchesPerEpoch === 0) throw new Error(`${options.owner} has no examples, so it has no batch ${index}`);
		return rowsOf(Math.floor(index / batchesPerEpoch), index % batchesPerEpoch);
	};
	return {
		batchesPerEpoch,
		rowsAt,
		batchAt: index => packBatch(rowsAt(index).map(row => examples.at(row)!)),
	};
}

/** Packs examples in the given order. Targets are completion and end of text; a first token has no predecessor and is none. */
export function packBatch(examples: readonly Example[]): PackedBatch {
	const lengths = examples.map(({ids}) => ids.length);
	const targets = examples.map(({ids, promptLength}) => ids.length - Math.max(promptLength, 1));
	const ids = new Int32Array(sum(lengths));
	const targetPositions = new Int32Array(sum(targets));
	const labels = new Int32Array(targetPositions.length);
	let offset = 0;
	let target = 0;
	for (const example of examples) {
		ids.set(example.ids, offset);
		for (let place = Math.max(example.promptLength, 1); place < example.ids.length; place++, target++) {
			targetPositions[target] = offset + place - 1;
			labels[target] = example.ids[place]!;
		}
		offset += example.ids.length;
	}
	return {ids, lengths, targetPositions, labels};
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

const range = (from: number, to: number) => Array.from({length: Math.max(0, to - from)}, (_, index) => from + index);

const sequential =
	({length}: ExampleSource, {batchSize}: BatchOptions) =>
	(_epoch: number, batch: number) =>
		range(batch * batchSize, Math.min(length, (batch + 1) * batchSize));

/**
An epoch's rows are shuffled and taken in buckets of several batches; within a bucket rows are sorted by length, cut into
batches, and the batches shuffled. Only the buckets that are reached have their rows tokenised.
*/
function shuffled(examples: ExampleSource, {batchSize, seed, owner, bucketRows}: BatchOptions) {
	const batchesPerBucket = Math.max(1, Math.floor((bucketRows ?? 8 * batchSize) / batchSize));
	const orderOf = remember((epoch: number) =>
		randomStream(seed, owner, epoch, 'rows').shuffle(range(0, examples.length)),
	);
	const bucketOf = remember((epoch: number, bucket: number) => {
		const rows = orderOf(epoch, 0).slice(
			bucket * batchesPerBucket * batchSize,
			(bucket + 1) * batchesPerBucket * batchSize,
		);
		const lengthOf = (row: number) => examples.at(row)!.ids.length;
		const sorted = rows.map((row, place) => ({row, place, length: lengthOf(row)}));
		sorted.sort((a, b) => a.length - b.length || a.place - b.place);
		const batches = range(0, Math.ceil(rows.length / batchSize)).map(batch =>
			sorted.slice(batch * batchSize, (batch + 1) * batchSize).map(({row}) => row),
		);
		return randomStream(seed, owner, epoch, 'batches', bucket).shuffle(batches);
	});
	return (epoch: number, batch: number) =>
		bucketOf(epoch, Math.floor(batch / batchesPerBucket))[batch % batchesPerBucket]!;
}

/** Remembers the last result: batches are asked for in order, and making it again gives the same. */
function remember<T>(make: (epoch: number, part: number) => T): (epoch: number, part: number) => T {
	let last: {epoch: number; part: number; value: T} | undefined;
	return (epoch, part) => {
		if (last?.epoch !== epoch || last.part !== part) last = {epoch, part, value: make(epoch, part)};
		return last.value;
	};
}
