/**
The command line: which commands there are, and how an error becomes a sentence and an exit code.
*/
import {Command, CommanderError} from 'commander';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import {registerActor} from './commands/actor.ts';
import {registerAttach} from './commands/attach.ts';
import {registerBroker} from './commands/broker.ts';
import {registerCompare} from './commands/compare.ts';
import {registerCtl} from './commands/ctl.ts';
import {registerDoctor} from './commands/doctor.ts';
import {registerExport} from './commands/export.ts';
import {registerReplay} from './commands/replay.ts';
import {registerReport} from './commands/report.ts';
import {registerRun} from './commands/run.ts';
import {registerRuns} from './commands/runs.ts';
import {registerSetup} from './commands/setup.ts';
import {registerStart} from './commands/start.ts';
import {registerTrace} from './commands/trace.ts';
import {registerUp} from './commands/up.ts';
import {version} from './version.ts';

const examples = `
Examples:
  $ cutlayer setup                                   get native TensorFlow, nats-server and the model
  $ cutlayer run quickstart                          three clients and two servers fine-tune SmolLM2
  $ cutlayer run e2e --set data.path=../shared/data/e2e --set training.steps=20
  $ cutlayer run --resume runs/quickstart            go on with an interrupted run
  $ cutlayer doctor                                  what would be used here, and what is missing
`;

/** Runs the command of `argv` and sets the exit code: 0 done, 1 failed, 2 wrong use, 130 interrupted. */
export async function main(argv: readonly string[]): Promise<void> {
	// A reader such as head may stop listening: there is nobody left to tell.
	process.stdout.on('error', (error: NodeJS.ErrnoException) => {
		if (error.code === 'EPIPE') process.exit();
		throw error;
	});
	try {
		await program().parseAsync(argv);
	} catch (error) {
		process.exitCode = exitCodeOf(error);
		if (!(error instanceof CommanderError)) process.stderr.write(`${textOf(error)}\n`);
	}
}

function program(): Command {
	const command = new Command('cutlayer')
		.description('Split LoRA fine-tuning of language models across machines that may not share their data.')
		.version(version)
		.showHelpAfterError('(--help shows what is possible)')
		.addHelpText('after', examples)
		.exitOverride();
	registerActor(command);
	for (const register of [
		registerSetup,
		registerDoctor,
		registerRun,
		registerStart,
		registerRuns,
		registerAttach,
		registerUp,
		registerCtl,
		registerBroker,
		registerCompare,
		registerReport,
		registerExport,
		registerReplay,
		registerTrace,
	])
		register(command);
	for (const sub of command.commands) sub.exitOverride().showHelpAfterError('(--help shows what is possible)');
	return command;
}

function exitCodeOf(error: unknown): number {
	if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
	return error instanceof CutlayerError ? error.exitCode : 1;
}

/** A sentence for an expected failure; the stack for a mistake of ours. */
const textOf = (error: unknown): string =>
	error instanceof CutlayerError
		? `cutlayer: ${error.message}`
		: `cutlayer: ${error instanceof Error ? error.stack : errorText(error)}`;
