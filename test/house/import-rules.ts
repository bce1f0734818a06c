/**
The rules between files, as `.dependency-cruiser.cjs` states them.
*/
import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import path from 'node:path';
import {cruise, type ICruiseOptions, type ICruiseResult, type IFlattenedRuleSet} from 'dependency-cruiser';
import {banned, houseFolders} from './sources.ts';

type Configuration = {forbidden: {name: string; comment: string}[]; options: ICruiseOptions};

const configuration = createRequire(import.meta.url)('../../.dependency-cruiser.cjs') as Configuration;

/** Every import below `root` that a rule forbids, as sentences. */
export async function importBreaches(root: string): Promise<string[]> {
	const {output} = await cruise(houseFolders, {
		...configuration.options,
		baseDir: root,
		ruleSet: {forbidden: configuration.forbidden} as IFlattenedRuleSet,
		validate: true,
	});
	if (typeof output === 'string') throw new Error('dependency-cruiser gave a text instead of its findings');
	return output.summary.violations.map(({from, to, rule}) => {
		const specifier = specifierOf(output, from, to);
		const instead = configuration.forbidden.find(({name}) => name === rule.name)?.comment ?? rule.name;
		return banned(from, lineOf(path.join(root, from), specifier), `importing ${specifier}`, instead);
	});
}

function specifierOf({modules}: ICruiseResult, from: string, to: string): string {
	const found = modules.find(({source}) => source === from)?.dependencies.find(({resolved}) => resolved === to);
	return found ? `${found.protocol ?? ''}${found.module}` : to;
}

function lineOf(file: string, specifier: string): number {
	const lines = readFileSync(file, 'utf8').split('\n');
	return lines.findIndex(line => line.includes(`'${specifier}'`)) + 1 || 1;
}
