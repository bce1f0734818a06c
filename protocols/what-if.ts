/**
What is changed in a run from one of its records on: a plain checked object. Nothing here runs anything.
*/
import Type, {type Static, type TSchema} from 'typebox';
import {checkScenario, checkShape, setPath} from './check-scenario.ts';
import {CutlayerError} from './errors.ts';
import type {Scenario, ScenarioFile} from './scenario.ts';

const section = <P extends Record<string, TSchema>>(properties: P) =>
	Type.Object(properties, {additionalProperties: false});

const message = Type.String({
	pattern: '^([a-z-]+(/[a-z0-9-]+){0,2}|[a-z0-9-]+:[0-9]+:[0-9]+)$',
	description: 'a verb, `verb/sender`, `verb/sender/receiver`, or one message by its id',
});
const times = Type.Integer({minimum: 1, maximum: 1e9, default: 1});

export const changeSchema = Type.Union([
	/** Messages that do not arrive: the next `times` that match. */
	section({kind: Type.Literal('drop'), message, times}),
	/** Messages that arrive `ms` later than they would. */
	section({
		kind: Type.Literal('delay'),
		message,
		ms: Type.Number({exclusiveMinimum: 0, maximum: 1e12}),
		times,
	}),
	/** A client that leaves, and says so. */
	section({kind: Type.Literal('without'), client: Type.String({pattern: '^[a-z0-9-]{1,64}$'})}),
	/** A value of the scenario, at a path such as `aggregation.kind`. */
	section({kind: Type.Literal('set'), path: Type.String({minLength: 1}), value: Type.Unknown()}),
]);
export type Change = Static<typeof changeSchema>;

export const whatIfSchema = section({
	/** The first record that may differ. */
	at: Type.Integer({minimum: 2, maximum: Number.MAX_SAFE_INTEGER}),
	changes: Type.Array(changeSchema, {default: [], maxItems: 1000}),
});
export type WhatIf = Static<typeof whatIfSchema>;

/**
What a change may set while a run is under way. The rest (the model, the cut, the adapters' shape, the data, who is there at
the start, the seed) decides what the run is made of.
*/
export const changeablePaths = [
	'closing',
	'aggregation',
	'update',
	'wire',
	'fleet',
	'faults',
	'timing',
	'evaluation.everyRounds',
	'training.steps',
	'training.stepsPerRound',
	'training.learningRate',
	'training.serverLearningRate',
	'training.schedule',
	'training.clipNorm',
	'training.labelSmoothing',
	'training.accumulation',
	'training.clientGradient',
	'training.optimizerAtRound',
] as const;

/**
The checked changes.
@throws CutlayerError `scenario-invalid`: path, value found, what is allowed.
*/
export const checkWhatIf = (value: unknown, source: string): WhatIf =>
	checkShape<WhatIf>(whatIfSchema, value, source, 'an object with at and changes');

/**
The scenario with every `set` of the changes in it.
@throws CutlayerError `scenario-invalid` for a path that cannot change under way, a value that is not allowed, or a client
that is not in the run.
*/
export function changedScenario(scenario: Scenario, changes: readonly Change[], source: string): Scenario {
	const file = structuredClone(scenario);
	for (const [index, change] of changes.entries()) {
		if (change.kind === 'without') checkClient(scenario, change.client, `\`changes.${index}.client\` in ${source}`);
		if (change.kind !== 'set') continue;
		checkPath(change.path, `\`changes.${index}.path\` in ${source}`);
		setPath(file as ScenarioFile, `${change.path}=${JSON.stringify(change.value)}`);
	}
	return checkScenario(file, source);
}

function checkPath(path: string, where: string): void {
	if (changeablePaths.some(allowed => path === allowed || path.startsWith(`${allowed}.`))) return;
	throw new CutlayerError(
		'scenario-invalid',
		`${where}: expected a path that can change while a run is under way, one of or below ${changeablePaths.join(', ')}, got ${path}; for another value run the scenario anew with --set`,
	);
}

function checkClient({clients}: Scenario, client: string, where: string): void {
	if (/^c(0|[1-9]\d*)$/.test(client) && Number(client.slice(1)) < clients) return;
	throw new CutlayerError('scenario-invalid', `${where}: expected c0 to c${clients - 1}, got ${client}`);
}

/** `without c3, aggregation.kind = "median"`: changes in words; `no change` when there is none. */
export const changesText = (changes: readonly Change[]): string =>
	changes.length === 0 ? 'no change' : changes.map(changeText).join(', ');

function changeText(change: Change): string {
	if (change.kind === 'without') return `without ${change.client}`;
	if (change.kind === 'set') return `${change.path} = ${JSON.stringify(change.value)}`;
	const times = change.times === 1 ? '' : `, ${change.times} times`;
	return change.kind === 'drop'
		? `drop ${change.message}${times}`
		: `delay ${change.message} by ${change.ms} ms${times}`;
}
