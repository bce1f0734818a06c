/**
The adapters a run leaves, as PEFT folders: `client`, `server`, and both as one adapter of the whole model.
*/
import {join} from 'node:path';
import {globalRank} from '../../protocols/ranks.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import type {NamedTensors} from '../../protocols/tensor.ts';
import {freshAdapter, heldOf} from '../compute/kept-adapter.ts';
import {receivedAdapter, unpackedAdapter} from '../compute/wire.ts';
import type {ModelConfig} from '../model/config.ts';
import {type AdapterTensors, fromNamedTensors, toNamedTensors} from '../model/lora.ts';
import {withDelta} from '../model/overlay.ts';
import {atRank, rankMax} from '../model/ranks.ts';
import {saveAdapter} from '../weights/peft.ts';
import {loadInitial} from './initial.ts';
import type {FinalAdapters} from './live-run.ts';
import {clientPart, tailPart} from './plan.ts';

/**
Writes `client/`, `server/` and `whole/` below `folder`; a side without adapter has no folder. An overlay of the base becomes part of an
adapter of a higher rank, and `whole` has the larger of its sides' ranks: both do what they did. Throws `disk`.
*/
export async function saveAdapters(
	folder: string,
	{client, server}: FinalAdapters,
	{scenario, config}: {scenario: Scenario; config: ModelConfig},
): Promise<void> {
	const {alpha, targets, dropout, isRankStabilised} = scenario.lora;
	const sides = {
		client: await clientSide(client, scenario, config),
		server: fromNamedTensors(unpackedAdapter(server)),
	};
	const rank = Math.max(rankMax(sides.client), rankMax(sides.server));
	const whole = {...atRank(sides.client, rank, scenario.lora), ...atRank(sides.server, rank, scenario.lora)};
	for (const [name, adapter] of Object.entries({...sides, whole})) {
		if (Object.keys(adapter).length === 0) continue;
		const spec = {rank: rankMax(adapter), alpha, targets, dropout, isRankStabilised};
		await saveAdapter(join(folder, name), toNamedTensors(adapter), {config, spec, baseModel: scenario.model});
	}
}

async function clientSide(client: NamedTensors, scenario: Scenario, config: ModelConfig): Promise<AdapterTensors> {
	const {adapter, overlay} = receivedAdapter(client);
	if (overlay) return withDelta(adapter, overlay, scenario.lora);
	if (scenario.aggregation.kind !== 'ffa-lora') return adapter;
	// A never crossed the bus: it is what every client began with.
	const held = {part: clientPart(scenario, config), ...tailPart(scenario, config)};
	const initial = await loadInitial(scenario, config);
	const first = initial
		? heldOf(fromNamedTensors(initial), held)
		: freshAdapter(config, {...held, lora: {...scenario.lora, rank: globalRank(scenario)}}, scenario.seed);
	return {...first, ...adapter};
}
