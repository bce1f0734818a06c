/**
A first adapter from a PEFT folder, or a safetensors file with PEFT's names, in place of the keyed random one.
*/
import {stat} from 'node:fs/promises';
import {CutlayerError} from '../../protocols/errors.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import type {NamedTensors} from '../../protocols/tensor.ts';
import type {ModelConfig} from '../model/config.ts';
import {loadAdapter, readAdapterFile} from '../weights/peft.ts';

/** The adapter of the whole model, if the scenario names one; each actor takes its own blocks. Throws `weights-invalid` or `usage`. */
export async function loadInitial(
	{lora: {initial: path, rank}}: Pick<Scenario, 'lora'>,
	config: ModelConfig,
): Promise<NamedTensors | undefined> {
	if (path === undefined) return undefined;
	const found = await stat(path).catch(() => undefined);
	if (!found?.isDirectory() && !path.endsWith('.safetensors')) {
		throw new CutlayerError(
			'usage',
			`\`lora.initial\`: expected a PEFT folder with adapter_config.json or a .safetensors file, found ${found ? 'a file' : 'nothing'} at ${path}`,
		);
	}
	const adapter = found?.isDirectory()
		? await loadAdapter(path, config).then(({tensors, spec}) => ({tensors, rank: spec.rank}))
		: await readAdapterFile(path, config);
	if (adapter.rank === rank) return adapter.tensors;
	throw new CutlayerError(
		'usage',
		`\`lora.initial\`: expected rank ${rank} as in \`lora.rank\`, found ${adapter.rank} in ${path}; make them equal`,
	);
}
