/**
A run's rows from its scenario: each client's shard as batches, and the fixed validation batches.
*/
import {attachOf} from '../../protocols/attach-events.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import {batchesOf, type PackedBatch} from '../data/batches.ts';
import {openDataset} from '../data/dataset.ts';
import {type TokenisedRows, tokeniseRows} from '../data/examples.ts';
import {partition} from '../data/partition.ts';
import type {Row} from '../data/row.ts';
import {rowsKindOf} from '../data/rows-kind.ts';
import type {Tokenizer} from '../data/tokenizer.ts';
import type {ClientData} from './actors.ts';
import {clientIds, rolesOf} from './plan.ts';
import type {ActorRole} from './running-actor.ts';

export type RunData = {
	readonly clients: Readonly<Record<string, ClientData>>;
	readonly validation: readonly PackedBatch[];
	/** Rows seen so far that were longer than `data.tokensMax`. */
	readonly rowsCut: () => number;
};

/**
Reads and divides the rows for the actors named, by default all; rows of others are dropped once they are divided, and nothing
is read for servers. Rows are tokenised when a batch first needs them. Throws `data-invalid`.
*/
export async function openRunData(
	scenario: Scenario,
	tokenizer: Tokenizer,
	actors: readonly ActorRole[] = rolesOf(scenario),
): Promise<RunData> {
	const ids = clientIds(scenario);
	const wanted = actors.filter(({kind}) => kind === 'client').map(({id}) => id);
	const isEvaluated = actors.some(({kind}) => kind === 'evaluator');
	if (wanted.length === 0 && !isEvaluated) return {clients: {}, validation: [], rowsCut: () => 0};
	const {data, seed, clients} = scenario;
	const {train, validation} = await openDataset(data);
	const limits = {tokensMax: data.tokensMax};
	const tokenise = (rows: readonly Row[]) => tokeniseRows(rows, tokenizer, limits);
	const places = wanted.length > 0 ? partition(train, clients, data.partition, seed) : [];
	const shards = await Promise.all(
		wanted.map(async id => {
			const attached = attachOf(scenario, id);
			if (attached?.kind !== 'client') return tokenise(places[ids.indexOf(id)]!.map(place => train[place]!));
			if (attached.data === undefined) return tokenise(places[attached.shard!]!.map(place => train[place]!));
			const own = {kind: rowsKindOf(attached.data), path: attached.data, validationRows: 0};
			return tokenise((await openDataset(own)).train);
		}),
	);
	const validationRows = tokenise(isEvaluated ? validation.slice(0, data.validationRows) : []);
	return {
		clients: Object.fromEntries(wanted.map((owner, index) => [owner, clientData(scenario, owner, shards[index]!)])),
		validation: isEvaluated ? validationBatches(validationRows, scenario) : [],
		rowsCut: () => [...shards, validationRows].reduce((total, rows) => total + rows.cutRows, 0),
	};
}

/** A client's rows, batch by batch as its seed and id order them. */
export function clientData({data, seed}: Scenario, owner: string, rows: TokenisedRows): ClientData {
	const {batchSize, order} = data;
	const {batchAt} = batchesOf(rows, {batchSize, seed, owner, order});
	return {samples: rows.length, batchAt};
}

function validationBatches(rows: TokenisedRows, {evaluation, seed}: Scenario): PackedBatch[] {
	const cursor = batchesOf(rows, {batchSize: evaluation.batchSize, seed, owner: 'validation', order: 'sequential'});
	return Array.from({length: cursor.batchesPerEpoch}, (_, index) => cursor.batchAt(index));
}
