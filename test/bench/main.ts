/**
`npm run bench -- [name] [--json]`: runs the benchmarks, all or the one named, and prints their rows with the machine. Exits 0 when all hold.
*/
import {readdirSync} from 'node:fs';
import {cpus, totalmem} from 'node:os';
import Table from 'cli-table3';
import type {Row} from './rows.ts';

const folder = new URL('.', import.meta.url);
const known = readdirSync(folder)
	.map(file => file.replace(/\.ts$/, ''))
	.filter(name => name !== 'main' && name !== 'rows');

const names = process.argv.slice(2).filter(argument => argument !== '--json');
const unknown = names.find(name => !known.includes(name));
if (unknown !== undefined) {
	console.error(`There is no benchmark \`${unknown}\`; choose from ${known.join(', ')}`);
	process.exit(2);
}

const rows: Row[] = [];
for (const name of names.length > 0 ? names : known) {
	const benchmark = (await import(new URL(`${name}.ts`, folder).href)) as {run: () => Promise<Row[]>};
	rows.push(...(await benchmark.run()));
}

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
