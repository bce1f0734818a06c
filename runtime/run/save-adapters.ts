/**
The adapters a run leaves, as PEFT folders: `client`, `server`, and both as one adapter of the whole model.
*/
import {join} from 'node:path';
import type {Scenario} from '../../protocols/scenario.ts';
import type {NamedTensors} from '../../protocols/tensor.ts';
import {fromWireFormat} from '../../protocols/wire-formats.ts';
import type {ModelConfig} from '../model/config.ts';
import {saveAdapter} from '../weights/peft.ts';
import type {FinalAdapters} from './live-run.ts';

/** Writes `client/`, `server/` and `whole/` below `folder`; a side without adapter has no folder. Throws `disk`. */
export async function saveAdapters(
	folder: string,
	{client, server}: FinalAdapters,
	{scenario, config}: {scenario: Scenario; config: ModelConfig},
): Promise<void> {
	const {rank, alpha, targets, dropout, isRankStabilised} = scenario.lora;
	const spec = {rank, alpha, targets, dropout, isRankStabilised};
	const sides = {client: inF32(client), server: inF32(server)};
	for (const [name, adapter] of Object.entries({...sides, whole: {...sides.client, ...sides.server}})) {
		if (Object.keys(adapter).length === 0) continue;
		await saveAdapter(join(folder, name), adapter, {config, spec, baseModel: scenario.model});
	}
}

const inF32 = (tensors: NamedTensors): NamedTensors =>
	Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, fromWireFormat(tensor)]));
