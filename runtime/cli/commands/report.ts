/**
`cutlayer report`: the report of a run folder, one HTML file without scripts.
*/
import type {Command} from 'commander';

const examples = `
Examples:
  $ cutlayer report runs/quickstart
  $ cutlayer report runs/quickstart --out quickstart.html
`;

export function registerReport(program: Command): void {
	program
		.command('report')
		.description('write the report of a run: one HTML file without scripts')
		.argument('<run>', 'the folder of the run')
		.option('--out <file>', 'where the report goes; default report.html in the folder')
		.addHelpText('after', examples)
		.action(async (folder: string, {out}: {out?: string}) => {
			const {writeReport} = await import('../../report/write.ts');
			process.stdout.write(`${await writeReport(folder, out)}\n`);
		});
}
