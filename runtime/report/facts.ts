/**
What a run was, in words: model, training, data, machine. Reads only `config.json`, and leaves out what that does not say.
*/
import {type Json, valueAt} from './read.ts';

/** A template whose `{paths}` are values of the config; a line with a value that is absent is left out. */
const lines: readonly (readonly [term: string, template: string])[] = [
	['run', '{run}'],
	['model', '{model}'],
	['model hash', '{modelHash}'],
	['split', 'clients hold blocks 0 to {scenario.cut} (the last not included)'],
	['main server', '{scenario.mainServer}, steps {scenario.update.kind}'],
	[
		'adapters',
		'rank {scenario.lora.rank}, alpha {scenario.lora.alpha}, dropout {scenario.lora.dropout}, on {scenario.lora.targets}',
	],
	['clients', '{scenario.clients}, rounds close by {scenario.closing.kind}, aggregated by {scenario.aggregation.kind}'],
	[
		'training',
		'{scenario.training.steps} steps a client, {scenario.training.stepsPerRound} a round, learning rate {scenario.training.learningRate}, {scenario.training.optimizer.kind}, {scenario.training.schedule.kind} schedule',
	],
	[
		'data',
		'{scenario.data.kind}, {scenario.data.batchSize} rows a batch, shards {scenario.data.partition.kind}, {scenario.data.validationRows} validation rows',
	],
	[
		'on the wire',
		'activations {scenario.wire.activations}, gradients {scenario.wire.gradients}, adapters {scenario.wire.adapters}',
	],
	['seed', '{scenario.seed}'],
	['backend', '{backend}'],
	['', '{backendReason}'],
	['broker', '{broker}'],
	['clock', '{clock}'],
	['machine', '{machine.cpu}, {machine.cores} cores, {machine.memoryGb} GB, {machine.platform}'],
	['node', '{versions.node}'],
];

/** Terms and values, in order. */
export function factsOf(config: Json): [term: string, value: string][] {
	return lines.flatMap(([term, template]) => {
		const paths = [...template.matchAll(/\{([\w.]+)\}/g)].map(match => match[1]!);
		if (paths.some(path => valueAt(config, path) === undefined)) return [];
		return [[term, template.replace(/\{([\w.]+)\}/g, (_, path: string) => wordOf(valueAt(config, path)))]];
	});
}

function wordOf(value: unknown): string {
	if (typeof value === 'boolean') return value ? 'yes' : 'no';
	return Array.isArray(value) ? value.join(', ') : String(value);
}
