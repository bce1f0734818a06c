/**
Finds and reads scenarios: shipped ones by name, others by path, a run's own `config.json` again.
*/
import {readdir, readFile} from 'node:fs/promises';
import {basename, extname, join, resolve} from 'node:path';
import {fileURLToPath, pathToFileURL} from 'node:url';
import {closest} from 'fastest-levenshtein';
import {checkScenario, setPath} from '../../protocols/check-scenario.ts';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import type {Scenario, ScenarioFile} from '../../protocols/scenario.ts';
import {readTimelines} from '../run/timelines.ts';

const shippedFolder = fileURLToPath(new URL('../../scenarios/', import.meta.url));

/** Names of the scenarios that come with Cutlayer. */
export async function shippedScenarios(): Promise<string[]> {
	return (await readdir(shippedFolder)).filter(file => file.endsWith('.ts')).map(file => basename(file, '.ts'));
}

/** The checked scenario of a name or path with `--set` assignments applied. Throws `usage` or `scenario-invalid`. */
export async function openScenario(nameOrPath: string, assignments: readonly string[] = []): Promise<Scenario> {
	const path = await findScenario(nameOrPath);
	const file = structuredClone(await readScenario(path));
	for (const assignment of assignments) setPath(file as ScenarioFile, assignment);
	const source = `scenario ${nameOrPath}`;
	return checkScenario(await withTimelines(file, source), source);
}

/** With what the CSV file of a `trace:<csv>` fleet says, unless a former run has read it already; what is wrong besides is told first. */
async function withTimelines(file: unknown, source: string): Promise<unknown> {
	const {fleet} = (file ?? {}) as {fleet?: {profile?: unknown; timelines?: object}};
	const {profile, timelines = {}} = fleet ?? {};
	if (typeof profile !== 'string' || !profile.startsWith('trace:') || Object.keys(timelines).length > 0) return file;
	checkScenario({...(file as object), fleet: {...fleet, profile: 'edge-lab'}}, source);
	return {...(file as object), fleet: {...fleet, timelines: await readTimelines(profile.slice('trace:'.length))}};
}

async function findScenario(nameOrPath: string): Promise<string> {
	if (extname(nameOrPath) !== '') return resolve(nameOrPath);
	const names = await shippedScenarios();
	if (names.includes(nameOrPath)) return join(shippedFolder, `${nameOrPath}.ts`);
	throw new CutlayerError(
		'usage',
		`No scenario \`${nameOrPath}\`: did you mean \`${closest(nameOrPath, names)}\`? Shipped are ${names.join(', ')}; your own is a path that ends in .ts, .js or .json`,
	);
}

async function readScenario(path: string): Promise<unknown> {
	try {
		if (path.endsWith('.json')) {
			const json = JSON.parse(await readFile(path, 'utf8')) as {scenario?: unknown};
			return json.scenario ?? json;
		}
		const module = (await import(pathToFileURL(path).href)) as {default?: unknown};
		return module.default;
	} catch (error) {
		throw new CutlayerError('usage', `Cannot read the scenario ${path}: ${errorText(error)}`, {cause: error});
	}
}
