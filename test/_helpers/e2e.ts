/**
Batches of the E2E corpus for the comparisons that were recorded with it. The corpus is not part of the project, see `shared.ts`.
*/
import {readFileSync} from 'node:fs';
import {parse} from 'csv-parse/sync';
import type {Tokenizer} from '../../runtime/data/tokenizer.ts';
import type {PackedBatch} from './golden.ts';
import {sharedPath} from './shared.ts';

/** The folder with `trainset.csv`, if this machine has it. */
export const e2eFolder: string | undefined = sharedPath('data/e2e');

type Row = {mr: string; ref: string};

/** Rows of a file in its order; column names are those of the corpus. */
export function e2eRows(file: 'trainset.csv' | 'devset.csv', count: number): Row[] {
	const text = readFileSync(`${e2eFolder}/${file}`, 'utf8');
	return (parse(text, {columns: true, bom: true, to: count}) as Row[]).slice(0, count);
}

/** Rows as prompt `<mr> ||`, completion ` <ref>` and end of text, packed; the loss is the mean over completion and end of text. */
export function e2eBatch(rows: readonly Row[], tokenizer: Tokenizer): PackedBatch {
	const ids: number[] = [];
	const positions: number[] = [];
	const labels: number[] = [];
	const lengths = rows.map(({mr, ref}) => {
		const prompt = tokenizer.encode(`${mr} ||`).length;
		const row = [...tokenizer.encode(`${mr} || ${ref}`), tokenizer.eosId];
		for (let next = prompt; next < row.length; next++) {
			positions.push(ids.length + next - 1);
			labels.push(row[next]!);
		}
		ids.push(...row);
		return row.length;
	});
	return {
		batch: {ids: Int32Array.from(ids), lengths},
		targets: {
			positions: Int32Array.from(positions),
			labels: Int32Array.from(labels),
			weights: new Float32Array(positions.length).fill(1 / positions.length),
		},
		places: [...ids.keys()],
	};
}
