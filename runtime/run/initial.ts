/**
A first adapter from a PEFT folder in place of the keyed random one.
*/
import {stat} from 'node:fs/promises';
import {CutlayerError} from '../../protocols/errors.ts';
import type {NamedTensors} from '../../protocols/tensor.ts';
import type {ModelConfig} from '../model/config.ts';
import {loadAdapter} from '../weights/peft.ts';

/** The adapter of the whole model; each actor takes its own blocks. Throws `weights-invalid` or `usage`. */
export async function loadInitial(path: string, config: ModelConfig): Promise<NamedTensors> {
	const found = await stat(path).catch(() => undefined);
	if (!found?.isDirectory()) {
		throw new CutlayerError(
			'usage',
			`\`lora.initial\`: expected a PEFT folder with adapter_config.json, found ${found ? 'a file' : 'nothing'} at ${path}`,
		);
	}
	return (await loadAdapter(path, config)).tensors;
}
