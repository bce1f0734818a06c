/**
`cutlayer start`: the quick start. Sets up what is missing, then runs `scenarios/quickstart.ts`.
*/
import type {Command} from 'commander';
import {openProgress} from '../../setup/progress.ts';
import {ensureSetup} from '../../setup/setup.ts';
import type {RunFlags} from '../run-flags.ts';
import {wholeNumber} from './run.ts';

const examples = `
Examples:
  $ cutlayer start
  $ cutlayer start --steps 4 --out runs/first
`;

export function registerStart(program: Command): void {
	program
		.command('start')
		.description('set up what is missing, then run the quickstart scenario')
		.option('--out <folder>', 'where the run goes')
		.option('--steps <n>', 'steps a client takes in all', wholeNumber)
		.option('--quiet', 'print no progress', false)
		.addHelpText('after', examples)
		.action(start);
}

async function start(flags: {out?: string; steps?: number; quiet: boolean}): Promise<void> {
	const progress = await openProgress(flags.quiet);
	const items = await ensureSetup({onProgress: progress.onProgress}).finally(progress.close);
	for (const {part, state, text} of items) {
		if (!flags.quiet || state === 'missing') process.stderr.write(`${part.padEnd(8)} ${state.padEnd(8)} ${text}\n`);
	}
	if (items.some(item => item.state === 'missing' && item.isRequired)) {
		process.exitCode = 1;
		return;
	}
	const run: RunFlags = {
		set: [],
		bus: 'nats',
		trace: 'digest',
		quiet: flags.quiet,
		json: false,
		...(flags.out && {out: flags.out}),
		...(flags.steps !== undefined && {steps: flags.steps}),
	};
	const {runScenario} = await import('../run-scenario.ts');
	await runScenario('quickstart', run);
}
