/**
`cutlayer trace`: what a run recorded, as lines, one record, a comparison, a check or a file for another tool.
*/
import {type Command, InvalidArgumentError, Option} from 'commander';
import type {BlameFlags} from '../blame.ts';
import type {ListFlags} from '../trace-flags.ts';
import type {PullFlags} from '../trace-pull.ts';
import {recordNumber} from './replay.ts';

const examples = `
Examples:
  $ cutlayer trace ls runs/quickstart --actor main --round 2
  $ cutlayer trace show runs/quickstart 41
  $ cutlayer trace diff runs/a runs/b
  $ cutlayer trace check runs/quickstart
  $ cutlayer trace export runs/quickstart --format perfetto --out trace.json
  $ cutlayer trace follow runs/quickstart --actor c0
  $ cutlayer trace pull --nats nats://10.0.0.5:4222 --run e2e-1a2b3c --out runs/pulled
  $ cutlayer trace blame runs/stragglers --loss --round 5
`;

const run = ['<run>', 'a run folder, or one .trace file'] as const;
const json = ['--json', 'print JSON', false] as const;

const runTime = (text: string): number => {
	if (!/^\d+(\.\d+)?$/.test(text)) throw new InvalidArgumentError('expected milliseconds of run time from 0 on');
	return Number(text);
};

/** What each command needs is loaded when it is called. */
const actions = () => import('../trace-actions.ts');

export function registerTrace(program: Command): void {
	const trace = program.command('trace').description('look at what a run recorded').addHelpText('after', examples);
	trace
		.command('ls')
		.description('list records')
		.argument(...run)
		.option('--actor <id>', 'only of this actor')
		.option('--verb <verb>', 'only where this message, pass or event came or left')
		.option('--round <n>', 'only of this round', recordNumber)
		.option('--from <ms>', 'from this run time on', runTime)
		.option('--to <ms>', 'up to this run time', runTime)
		.option(...json)
		.action(async (path: string, flags: ListFlags) => (await actions()).list(path, flags));
	trace
		.command('show')
		.description('show one record with its causes and effects')
		.argument(...run)
		.argument('<n>', 'the number of the record; <stream>:<n> where there are several streams')
		.option(...json)
		.action(async (path: string, n: string, flags: {json: boolean}) => (await actions()).show(path, n, flags));
	trace
		.command('diff')
		.description('find where two runs part; exits 1 when they do')
		.argument('<a>', 'a run folder')
		.argument('<b>', 'another')
		.option(...json)
		.action(async (a: string, b: string, flags: {json: boolean}) => (await actions()).diff(a, b, flags));
	trace
		.command('check')
		.description('check the invariants of every run; exits 1 when one does not hold')
		.argument(...run)
		.option(...json)
		.action(async (path: string, flags: {json: boolean}) => (await actions()).check(path, flags));
	trace
		.command('export')
		.description('write the trace for another tool')
		.argument(...run)
		.addOption(
			new Option('--format <format>', 'of what is written').choices(['jsonl', 'csv', 'perfetto']).default('jsonl'),
		)
		.option('--out <file>', 'default stdout')
		.action(async (path: string, flags: {format: 'jsonl' | 'csv' | 'perfetto'; out?: string}) =>
			(await actions()).exportTo(path, flags),
		);
	trace
		.command('follow')
		.description('list records as a run makes them, to its end')
		.argument(...run)
		.option('--actor <id>', 'only of this actor')
		.option('--verb <verb>', 'only where this message, pass or event came or left')
		.option(...json)
		.action(async (path: string, flags: ListFlags) => (await actions()).follow(path, flags));
	trace
		.command('pull')
		.description('get the trace of a run from its broker, to its end; the run has --trace-stream')
		.requiredOption('--nats <url>', 'the broker of the run')
		.option('--creds <file>', 'credentials for the broker')
		.requiredOption('--run <id>', 'the id of the run: `run` in its config.json')
		.option('--out <folder>', 'where its trace/ goes; default runs/<id>')
		.option('--now', 'take what is there, and do not wait for the end of the run', false)
		.option(...json)
		.action(async (flags: PullFlags) => (await import('../trace-pull.ts')).pull(flags));
	trace
		.command('blame')
		.description('run again without each client in turn, and say who moved the validation loss most')
		.argument('<run>', 'the folder of a run in virtual time')
		.option('--loss', 'what is looked for: the last validation loss', false)
		.option('--from <n>', 'the record at which they leave; default the start', recordNumber)
		.option('--round <n>', 'the round before which they leave, in place of --from', recordNumber)
		.option('--client <id>', 'only this client; may be repeated', (value, all: string[]) => [...all, value], [])
		.option('--out <folder>', 'keeps the runs there; default they are dropped')
		.addOption(new Option('--backend <kind>', 'what computes').choices(['tensorflow', 'wasm', 'cpu']))
		.option(...json)
		.action(async (path: string, flags: BlameFlags) => (await import('../blame.ts')).blame(path, flags));
	for (const sub of trace.commands) {
		sub.exitOverride().showHelpAfterError('(--help shows what is possible)').addHelpText('after', examples);
	}
}
