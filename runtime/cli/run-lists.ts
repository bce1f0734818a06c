/**
What `cutlayer run --list` prints: the scenarios that come with Cutlayer, or the policies that a scenario can name.
*/
import {type PolicyRow, policyRows} from '../../protocols/policy-list.ts';
import {openScenario, shippedScenarios} from './scenario-files.ts';

/** The list as lines of aligned columns, or as one JSON array. */
export async function listText(list: 'scenarios' | 'policies', isJson: boolean): Promise<string> {
	const {rows, cells} = list === 'policies' ? policies() : await scenarios();
	return isJson ? `${JSON.stringify(rows)}\n` : `${columns(cells).join('\n')}\n`;
}

type Listed = {readonly rows: readonly object[]; readonly cells: readonly string[][]};

async function scenarios(): Promise<Listed> {
	const shipped = await Promise.all((await shippedScenarios()).map(name => openScenario(name)));
	const rows = shipped.map(({name, description}) => ({name, description}));
	return {rows, cells: rows.map(({name, description}) => [name, description])};
}

function policies(): Listed {
	const rows = policyRows();
	return {rows, cells: [['kind', 'name', 'what it does', 'source', 'settings'], ...rows.map(policyCells)]};
}

/** A line a policy; a star is what a scenario that names none gets. */
function policyCells({kind, name, description, source, isDefault, parameters}: PolicyRow): string[] {
	const settings = parameters.map(one => (one.default === undefined ? one.name : `${one.name} ${shown(one.default)}`));
	return [kind, isDefault ? `${name} *` : name, description, source, settings.join(', ')];
}

/** A default on the line of its policy: its kind when it is a policy itself. */
const shown = (value: unknown) => String((value as {kind?: string}).kind ?? value);

function columns(rows: readonly string[][]): string[] {
	const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => row[column]!.length)));
	return rows.map(row =>
		row
			.map((cell, column) => cell.padEnd(widths[column]!))
			.join('  ')
			.trimEnd(),
	);
}
