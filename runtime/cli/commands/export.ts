/**
`cutlayer export`: the metrics of a run in a format for other programs.
*/
import {writeFile} from 'node:fs/promises';
import type {Command} from 'commander';
import {CutlayerError, errorText} from '../../../protocols/errors.ts';

type ExportOptions = {csv: boolean; out?: string};

const examples = `
Examples:
  $ cutlayer export runs/quickstart --csv
  $ cutlayer export runs/quickstart --csv --out quickstart.csv
`;

export function registerExport(program: Command): void {
	program
		.command('export')
		.description('print the metrics of a run as CSV')
		.argument('<run>', 'the folder of the run')
		.option('--csv', 'a line a row, a column a field', false)
		.option('--out <file>', 'a file instead of stdout')
		.addHelpText('after', examples)
		.action(exportMetrics);
}

async function exportMetrics(folder: string, {csv, out}: ExportOptions): Promise<void> {
	if (!csv) throw new CutlayerError('usage', `Expected a format: cutlayer export ${folder} --csv`);
	const [{readRecordedRun}, {csvOf}] = await Promise.all([
		import('../../report/read.ts'),
		import('../../report/csv.ts'),
	]);
	const text = csvOf((await readRecordedRun(folder)).rows);
	if (out === undefined) {
		process.stdout.write(text);
		return;
	}
	try {
		await writeFile(out, text);
	} catch (error) {
		throw new CutlayerError('disk', `Cannot write ${out}: ${errorText(error)}; give another --out`, {cause: error});
	}
}
