/**
`cutlayer doctor`: what a run would use here and why, and what is missing. Exits 0 when a run can start, 1 otherwise.
*/
import {type Command, Option} from 'commander';
import {type Inspection, inspectMachine} from '../../setup/inspect.ts';
import type {BackendKind} from '../../setup/resolve.ts';

type DoctorOptions = {backend?: BackendKind; model?: string; json: boolean};

const examples = `
Examples:
  $ cutlayer doctor
  $ cutlayer doctor --backend tensorflow --model ./my-model --json
`;

export function registerDoctor(program: Command): void {
	program
		.command('doctor')
		.description('show what a run would use on this machine, and what is missing')
		.addOption(new Option('--backend <kind>', 'inspect for this backend').choices(['tensorflow', 'wasm', 'cpu']))
		.option('--model <name>', 'inspect for this model')
		.option('--json', 'print one JSON object', false)
		.addHelpText('after', examples)
		.action(async ({json, ...wants}: DoctorOptions) => {
			const inspection = await inspectMachine(wants);
			process.stdout.write(json ? `${JSON.stringify(inspection)}\n` : describe(inspection));
			if (!inspection.canStart) process.exitCode = 1;
		});
}

function describe(inspection: Inspection): string {
	const {node, machine, cache, backend, broker, model, problems, canStart} = inspection;
	const rows: [string, string | undefined][] = [
		['node', `${node.version} on ${node.platform} ${node.arch}`],
		['cpu', `${machine.cpu}, ${machine.cores} cores, ${machine.flags.join(' ') || 'no known vector instructions'}`],
		['memory', `${gigabytes(machine.memoryFreeBytes)} free of ${gigabytes(machine.memoryBytes)}`],
		['cache', `${cache.path}, ${gigabytes(cache.freeBytes)} free`],
		['backend', backend && `${backend.kind}: ${backend.reason}${backend.isOneDnnOn ? ', oneDNN on' : ''}`],
		['', backend?.bindingPath],
		['broker', broker && `nats-server ${broker.version ?? 'of unknown version'} from ${broker.source}`],
		['', broker?.binary],
		['model', model && `${model.name} from ${model.from}`],
		['', model?.path],
		...problems.map(({text, stopsRuns}): [string, string] => [stopsRuns ? 'missing' : 'note', text]),
		['', canStart ? 'A run can start.' : 'A run cannot start.'],
	];
	return rows.flatMap(([name, text]) => (text === undefined ? [] : [`${name.padEnd(8)} ${text}\n`])).join('');
}

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;
