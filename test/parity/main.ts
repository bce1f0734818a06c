/**
`npm run parity -- [golden] [--json]`: runs the long comparisons, all or the one named, and prints their rows. Exits 0 when all hold.
*/
import Table from 'cli-table3';
import {namedRows} from '../_helpers/named-rows.ts';
import type {ParityRow} from './rows.ts';

const rows = await namedRows<ParityRow>(new URL('.', import.meta.url), 'comparison');

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
