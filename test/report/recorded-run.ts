/**
Run folders for tests of the report: a small run with known numbers, changed as a test likes.
*/
import {mkdtemp, rm, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import path from 'node:path';

export type Row = Record<string, unknown>;
export type Files = {config: Row; rows: Row[]; summary: Row | undefined; tail?: string};

const step = (client: string, timeMs: number, loss: number, tokens: number, serverStaleness = 0): Row => ({
	kind: 'step',
	timeMs,
	actor: client,
	client,
	loss,
	tokens,
	serverStaleness,
	bytesUp: 1000 * tokens,
	bytesDown: 2000 * tokens,
});

/** Two clients, four steps, one round, two evaluations. */
export const smallRun = (): Files => ({
	config: {
		run: 'small-abc',
		scenario: {
			name: 'small',
			description: 'two clients',
			cut: 2,
			clients: 2,
			lora: {rank: 4, alpha: 32, dropout: 0.1, targets: ['q', 'v']},
		},
		machine: {cpu: 'Some CPU', cores: 2, memoryGb: 8, platform: 'linux x64'},
		versions: {node: 'v20.19.0'},
	},
	rows: [
		{kind: 'eval', timeMs: 500, actor: 'evaluator', adapterVersion: 0, loss: 3.25, perplexity: 25.79},
		step('c10', 1000, 4, 100),
		step('c2', 2000, 3, 50),
		step('c10', 3000, 2.5, 100, 1),
		step('c2', 4000, 1.5, 50, 1),
		{kind: 'round', timeMs: 4100, actor: 'fed', round: 0, uploads: 2},
		{kind: 'eval', timeMs: 4500, actor: 'evaluator', adapterVersion: 1, loss: 2.125, perplexity: 8.37},
	],
	summary: {status: 'done', reason: 'all steps are done', seconds: 5, dropped: {'not-finite': 3}},
});

/** Writes the folder, hands it to `use`, and removes it. */
export async function withRun<T>({config, rows, summary, tail = ''}: Files, use: (folder: string) => Promise<T>) {
	const folder = await mkdtemp(path.join(tmpdir(), 'cutlayer-report-'));
	try {
		await writeFile(path.join(folder, 'config.json'), JSON.stringify(config));
		await writeFile(path.join(folder, 'metrics.jsonl'), rows.map(row => `${JSON.stringify(row)}\n`).join('') + tail);
		if (summary) await writeFile(path.join(folder, 'summary.json'), JSON.stringify(summary));
		return await use(folder);
	} finally {
		await rm(folder, {recursive: true});
	}
}
