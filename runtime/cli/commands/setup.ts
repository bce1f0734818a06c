/**
`cutlayer setup`: makes backend, broker and model ready and says where each came from.
*/
import {type Command, Option} from 'commander';
import {cacheFolder} from '../../setup/cache.ts';
import {openProgress} from '../../setup/progress.ts';
import {ensureSetup, type SetupItem, type SetupWants} from '../../setup/setup.ts';

type SetupOptions = {
	backend: NonNullable<SetupWants['backend']>;
	cuda: boolean;
	broker: boolean;
	model: string | boolean;
	quiet: boolean;
	json: boolean;
};

const examples = `
Examples:
  $ cutlayer setup
  $ cutlayer setup --backend wasm --no-broker
  $ cutlayer setup --cuda --model HuggingFaceTB/SmolLM2-135M
`;

export function registerSetup(program: Command): void {
	program
		.command('setup')
		.description('get what a run needs: native TensorFlow, the nats-server broker, the base model')
		.addOption(
			new Option('--backend <kind>', 'fail without native TensorFlow, or leave it out')
				.choices(['auto', 'tensorflow', 'wasm', 'cpu'])
				.default('auto'),
		)
		.option('--cuda', 'take TensorFlow with CUDA (Linux x64, about 5 GB)', false)
		.option('--model <name>', 'a path, smollm2-135m, or organisation/model of the hub')
		.option('--no-model', 'get no model')
		.option('--no-broker', 'get no broker')
		.option('--quiet', 'print only what is missing', false)
		.option('--json', 'print one JSON object', false)
		.addHelpText('after', examples)
		.action(setUp);
}

async function setUp(options: SetupOptions): Promise<void> {
	const {backend, cuda, broker, model, quiet, json} = options;
	const wants: SetupWants = {backend, cuda, broker, ...(model === true ? {} : {model})};
	const progress = await openProgress(quiet || json);
	const startedAtMs = Date.now();
	const items = await ensureSetup({wants, onProgress: progress.onProgress}).finally(progress.close);
	const isReady = items.every(item => item.state !== 'missing' || !item.isRequired);
	if (json) {
		const seconds = (Date.now() - startedAtMs) / 1000;
		process.stdout.write(`${JSON.stringify({isReady, cache: cacheFolder(), seconds, items})}\n`);
	} else {
		for (const item of items) if (!quiet || item.state === 'missing') print(item);
	}
	if (!isReady) process.exitCode = 1;
}

function print({part, state, text, path}: SetupItem): void {
	const line = `${part.padEnd(8)} ${state.padEnd(8)} ${text}${path ? `\n${' '.repeat(18)}${path}` : ''}\n`;
	(state === 'missing' ? process.stderr : process.stdout).write(line);
}
