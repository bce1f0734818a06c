/**
`npm run parity -- [golden] [--json]`: runs the long comparisons, all or the one named, and prints their rows. Exits 0 when all hold.
*/
import {readdirSync} from 'node:fs';
import Table from 'cli-table3';
import type {ParityRow} from './rows.ts';

const folder = new URL('.', import.meta.url);
const known = readdirSync(folder)
	.map(file => file.replace(/\.ts$/, ''))
	.filter(name => name !== 'main' && name !== 'rows');

const names = process.argv.slice(2).filter(argument => argument !== '--json');
const unknown = names.find(name => !known.includes(name));
if (unknown !== undefined) {
	console.error(`There is no comparison \`${unknown}\`; choose from ${known.join(', ')}`);
	process.exit(2);
}

const rows: ParityRow[] = [];
for (const name of names.length > 0 ? names : known) {
	const comparison = (await import(new URL(`${name}.ts`, folder).href)) as {run: () => Promise<ParityRow[]>};
	rows.push(...(await comparison.run()));
}

if (process.argv.includes('--json')) {
	console.log(JSON.stringify(rows, undefined, '\t'));
} else {
	const table = new Table({head: ['name', 'ours', 'theirs', 'relative error', 'tolerance', 'holds']});
	for (const {name, ours, theirs, relativeError, tolerance, holds} of rows) {
		table.push([
			name,
			ours.toPrecision(9),
			theirs.toPrecision(9),
			relativeError.toExponential(1),
			tolerance,
			holds ? 'yes' : 'NO',
		]);
	}
	console.log(table.toString());
}
process.exitCode = rows.every(({holds}) => holds) ? 0 : 1;
