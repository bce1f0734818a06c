/**
`cutlayer compare`: several scenarios or run folders side by side, as one table and one picture.
*/
import {type Command, InvalidArgumentError, Option} from 'commander';
import type {CompareFlags} from '../compare-runs.ts';

const examples = `
Examples:
  $ cutlayer compare splitlora fedlora cenlora --out runs/baselines
  $ cutlayer compare runs/baselines/splitlora runs/baselines/fedlora --target 1.5
`;

const loss = (text: string): number => {
	const value = Number(text);
	if (!(value > 0)) throw new InvalidArgumentError('expected a loss above 0');
	return value;
};

export function registerCompare(program: Command): void {
	program
		.command('compare')
		.description('run or read several and show what each needed to a common loss; scenarios run in virtual time')
		.argument('<scenario|folder...>')
		.option('--out <folder>', 'where runs and comparison.svg go', 'runs/compare')
		.option('--target <loss>', 'the validation loss to reach; default the largest final one', loss)
		.option('--seed <n>', 'of all runs', Number)
		.option('--steps <n>', 'steps a client takes in all', Number)
		.option(
			'--set <path=value>',
			'change one value of every scenario; may be repeated',
			(value, all: string[]) => [...all, value],
			[],
		)
		.addOption(new Option('--backend <kind>', 'what computes').choices(['tensorflow', 'wasm', 'cpu']))
		.option('--json', 'print one JSON object', false)
		.addHelpText('after', examples)
		.action(async (names: string[], flags: CompareFlags) => {
			const {compare} = await import('../compare-runs.ts');
			await compare(names, flags);
		});
}
