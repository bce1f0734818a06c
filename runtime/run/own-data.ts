/**
The rows of a client that joins a run from elsewhere: a file of its own, or a shard of the run's rows.
*/
import {CutlayerError} from '../../protocols/errors.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import {openDataset} from '../data/dataset.ts';
import {tokeniseRows} from '../data/examples.ts';
import {partition} from '../data/partition.ts';
import {rowsKindOf} from '../data/rows-kind.ts';
import type {Tokenizer} from '../data/tokenizer.ts';
import {clientData, type RunData} from './data.ts';
import {clientIds} from './plan.ts';

/** Exactly one of the two. */
export type OwnRows = {readonly path: string} | {readonly shard: number};

/** What a client named gets by default: its shard when it is one of the run's own. Throws `usage` when there is none. */
export function ownRows(scenario: Scenario, id: string, {data, shard}: {data?: string; shard?: number}): OwnRows {
	if (data !== undefined && shard !== undefined)
		throw new CutlayerError('usage', 'Expected either --data or --shard, found both; leave one of the two out');
	if (data !== undefined) return {path: data};
	const place = shard ?? clientIds(scenario).indexOf(id);
	if (place >= 0 && place < scenario.clients) return {shard: place};
	throw new CutlayerError(
		'usage',
		shard === undefined
			? `Expected rows for ${id}, which has no shard in this run of ${scenario.clients} clients; name a file with --data, or --shard 0 to ${scenario.clients - 1}`
			: `Expected --shard 0 to ${scenario.clients - 1}, found ${shard}; this run has ${scenario.clients} shards`,
	);
}

/** Reads them. Throws `data-invalid` when there are none. */
export async function openOwnData(
	scenario: Scenario,
	tokenizer: Tokenizer,
	id: string,
	from: OwnRows,
): Promise<RunData> {
	const {data, seed, clients} = scenario;
	const isFile = 'path' in from;
	const {train} = await openDataset(isFile ? {kind: rowsKindOf(from.path), path: from.path, validationRows: 0} : data);
	const places = isFile ? undefined : partition(train, clients, data.partition, seed)[from.shard]!;
	const rows = places ? places.map(place => train[place]!) : train;
	if (rows.length === 0) {
		throw new CutlayerError(
			'data-invalid',
			`Expected rows to train on, found none in ${isFile ? from.path : `shard ${from.shard}`}; name a file that has some with --data`,
		);
	}
	const tokenised = tokeniseRows(rows, tokenizer, {tokensMax: data.tokensMax});
	return {
		clients: {[id]: clientData(scenario, id, tokenised)},
		validation: [],
		rowsCut: () => tokenised.cutRows,
	};
}
