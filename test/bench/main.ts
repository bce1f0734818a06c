/**
`npm run bench -- [name] [--json]`: runs the benchmarks, all or the one named, and prints their rows with the machine. Exits 0 when all hold.
*/
import {cpus, totalmem} from 'node:os';
import Table from 'cli-table3';
import {namedRows} from '../_helpers/named-rows.ts';
import type {Row} from './rows.ts';

const rows = await namedRows<Row>(new URL('.', import.meta.url), 'benchmark');

const machine = {
	processor: cpus()[0]?.model ?? 'unknown',
	cores: cpus().length,
	memoryGb: Math.round(totalmem() / 1e9),
	node: process.version,
};
if (process.argv.includes('--json')) {
	console.log(JSON.stringify({machine, rows}, undefined, '\t'));
} else {
	const table = new Table({head: ['name', 'value', 'unit', 'bar', 'holds']});
	for (const {name, value, unit, bar, holds} of rows) {
		table.push([name, Number(value.toPrecision(4)), unit, bar ?? '', holds === undefined ? '' : holds ? 'yes' : 'NO']);
	}
	console.log(`${machine.processor}, ${machine.cores} cores, ${machine.memoryGb} GB, Node ${machine.node}`);
	console.log(table.toString());
}
process.exitCode = rows.every(({holds}) => holds !== false) ? 0 : 1;
