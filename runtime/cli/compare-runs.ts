/**
Runs what is not yet a run folder, reads all of them, prints the table and writes the picture.
*/
import {existsSync} from 'node:fs';
import {mkdir} from 'node:fs/promises';
import {join, resolve} from 'node:path';
import {CutlayerError} from '../../protocols/errors.ts';
import {compareRuns, comparisonPicture, comparisonText} from '../report/compare.ts';
import {readRecordedRun} from '../report/read.ts';
import {replaceFile} from '../run/folder.ts';
import type {RunFlags} from './run-flags.ts';
import {runScenario} from './run-scenario.ts';
import {openScenario} from './scenario-files.ts';

export type CompareFlags = Pick<RunFlags, 'backend' | 'seed' | 'steps' | 'set' | 'json'> & {
	readonly out: string;
	readonly target?: number;
};

/** Throws what a run throws, and `usage` for a run that failed. */
export async function compare(names: readonly string[], flags: CompareFlags): Promise<void> {
	const isFolder = (name: string) => existsSync(join(name, 'config.json'));
	// A mistake in the last scenario is told before the first one runs.
	for (const name of names) if (!isFolder(name)) await openScenario(name, flags.set);
	const folders: string[] = [];
	for (const [index, name] of names.entries()) {
		folders.push(isFolder(name) ? resolve(name) : await run(name, index, flags));
	}
	const comparison = compareRuns(await Promise.all(folders.map(folder => readRecordedRun(folder))), flags.target);
	const picture = join(flags.out, 'comparison.svg');
	await mkdir(flags.out, {recursive: true});
	await replaceFile(picture, comparisonPicture(comparison));
	const text = flags.json
		? `${JSON.stringify({...comparison, folders, picture})}\n`
		: `${comparisonText(comparison)}\npicture  ${picture}\n`;
	process.stdout.write(text);
}

async function run(name: string, index: number, {out, backend, seed, steps, set, json}: CompareFlags): Promise<string> {
	const scenario = await openScenario(name, set);
	const folder = resolve(out, `${index + 1}-${scenario.name}`);
	if (!json) process.stderr.write(`running ${scenario.name} in ${folder}\n`);
	await runScenario(name, {
		out: folder,
		set,
		bus: 'memory',
		clock: 'virtual',
		trace: 'off',
		json: false,
		quiet: true,
		...(backend && {backend}),
		...(seed !== undefined && {seed}),
		...(steps !== undefined && {steps}),
	});
	if (process.exitCode)
		throw new CutlayerError('usage', `The run of ${name} did not end well; see ${folder}/summary.json`);
	return folder;
}
