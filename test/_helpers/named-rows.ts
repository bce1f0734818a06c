/**
Runs the modules of a folder that the command line names, all without a name, and gathers the rows they measure.
*/
import {readdirSync} from 'node:fs';

/** The rows of every named module's `run`; exits 2 for a name that none has. `what` is what a module of the folder is called. */
export async function namedRows<Row>(folder: URL, what: string): Promise<Row[]> {
	const known = readdirSync(folder)
		.map(file => file.replace(/\.ts$/, ''))
		.filter(name => name !== 'main' && name !== 'rows');
	const names = process.argv.slice(2).filter(argument => argument !== '--json');
	const unknown = names.find(name => !known.includes(name));
	if (unknown !== undefined) {
		console.error(`There is no ${what} \`${unknown}\`; choose from ${known.join(', ')}`);
		process.exit(2);
	}
	const rows: Row[] = [];
	for (const name of names.length > 0 ? names : known) {
		const module = (await import(new URL(`${name}.ts`, folder).href)) as {run: () => Promise<Row[]>};
		rows.push(...(await module.run()));
	}
	return rows;
}
