/**
A run's rows from its scenario: each client's shard as batches, and the fixed validation batches.
*/
import type {Scenario} from '../../protocols/scenario.ts';
import {batchesOf, type PackedBatch} from '../data/batches.ts';
import {openDataset} from '../data/dataset.ts';
import {tokeniseRows} from '../data/examples.ts';
import {partition} from '../data/partition.ts';
import type {Tokenizer} from '../data/tokenizer.ts';
import type {ClientData} from './actors.ts';
import {clientIds} from './plan.ts';

export type RunData = {
	readonly clients: Readonly<Record<string, ClientData>>;
	readonly validation: readonly PackedBatch[];
	/** Rows seen so far that were longer than `data.tokensMax`. */
	readonly rowsCut: () => number;
};

/** Reads and divides the rows; they are tokenised when a batch first needs them. Throws `data-invalid`. */
export async function openRunData(scenario: Scenario, tokenizer: Tokenizer): Promise<RunData> {
	const {data, seed, clients} = scenario;
	const {train, validation} = await openDataset(data);
	const limits = {tokensMax: data.tokensMax};
	const shards = partition(train, clients, data.partition, seed).map(places =>
		tokeniseRows(
			places.map(place => train[place]!),
			tokenizer,
			limits,
		),
	);
	const owners = clientIds(scenario).map((owner, index) => {
		const rows = shards[index]!;
		const cursor = batchesOf(rows, {batchSize: data.batchSize, seed, owner, order: data.order});
		return [owner, {samples: rows.length, batchAt: cursor.batchAt}] as const;
	});
	const validationRows = tokeniseRows(validation.slice(0, data.validationRows), tokenizer, limits);
	return {
		clients: Object.fromEntries(owners),
		validation: validationBatches(validationRows, scenario),
		rowsCut: () => [...shards, validationRows].reduce((total, rows) => total + rows.cutRows, 0),
	};
}

function validationBatches(rows: ReturnType<typeof tokeniseRows>, {evaluation, seed}: Scenario): PackedBatch[] {
	if (evaluation.everyRounds === 0) return [];
	const cursor = batchesOf(rows, {batchSize: evaluation.batchSize, seed, owner: 'validation', order: 'sequential'});
	return Array.from({length: cursor.batchesPerEpoch}, (_, index) => cursor.batchAt(index));
}
