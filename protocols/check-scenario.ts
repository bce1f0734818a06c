/**
Turns what a user wrote into a checked scenario with every default filled in, or says in one sentence what is wrong with it.
*/
import {closest, distance} from 'fastest-levenshtein';
import type {TSchema} from 'typebox';
import {Compile} from 'typebox/compile';
import Value from 'typebox/value';
import {attachProblem} from './attach-events.ts';
import {cutProblem} from './cuts.ts';
import {CutlayerError} from './errors.ts';
import {faultProblem} from './faults.ts';
import {pipelineProblem} from './pipelining.ts';
import {policyProblem} from './policy-problems.ts';
import {rankProblem} from './ranks.ts';
import {type Scenario, type ScenarioFile, scenarioSchema} from './scenario.ts';
import {stepClosingProblem} from './split-step.ts';
import {uShapeProblem} from './u-shape.ts';

const validator = Compile(scenarioSchema);

type Schema = TSchema & {
	readonly properties?: Record<string, Schema>;
	readonly anyOf?: readonly Schema[];
	readonly items?: Schema;
	readonly const?: unknown;
	readonly default?: unknown;
};
type Json = Record<string, unknown>;

/**
The checked scenario.
@throws CutlayerError `scenario-invalid`: path, value found, what is allowed, and the fix.
*/
export function checkScenario(file: unknown, source = 'the scenario'): Scenario {
	if (typeof file !== 'object' || file === null || Array.isArray(file)) {
		throw invalid(source, '', `expected an object with at least name and data, got ${show(file)}`);
	}
	checkKeys(scenarioSchema as Schema, file as Json, '', source);
	const filled = Value.Default(scenarioSchema, structuredClone(file));
	if (!validator.Check(filled)) throw firstProblem(filled, source);
	checkSense(filled as Scenario, source);
	return filled as Scenario;
}

/**
A value that a schema checks, with its defaults filled in; `what` says what was expected in place of no object.
@throws CutlayerError `scenario-invalid`, as `checkScenario` does.
*/
export function checkShape<T>(schema: TSchema, value: unknown, source: string, what: string): T {
	if (typeof value !== 'object' || value === null || Array.isArray(value))
		throw invalid(source, '', `expected ${what}, got ${show(value)}`);
	checkKeys(schema, value as Json, '', source);
	const filled = Value.Default(schema, structuredClone(value));
	if (!Value.Check(schema, filled)) throw firstProblem(filled, source, schema);
	return filled as T;
}

/** Sets `path` (`training.steps`) of a scenario file to a value given as text; JSON where it parses, else the text itself. */
export function setPath(file: ScenarioFile, assignment: string): void {
	const equals = assignment.indexOf('=');
	if (equals < 1)
		throw new CutlayerError(
			'usage',
			`Expected --set path=value, got \`${assignment}\`; write for example --set training.steps=20`,
		);
	const keys = assignment.slice(0, equals).split('.');
	const last = keys.pop()!;
	if ([...keys, last].some(key => key === '__proto__' || key === 'constructor' || key === 'prototype')) {
		throw new CutlayerError('usage', `Expected a path of the scenario, got \`${assignment}\``);
	}
	let at = file as Json;
	for (const key of keys) {
		if (typeof at[key] !== 'object' || at[key] === null) at[key] = {};
		at = at[key] as Json;
	}
	at[last] = parsed(assignment.slice(equals + 1));
}

const parsed = (text: string): unknown => {
	try {
		return JSON.parse(text);
	} catch {
		return text;
	}
};

const show = (value: unknown) => {
	const text = JSON.stringify(value) ?? String(value);
	return text.length > 80 ? `${text.slice(0, 77)}...` : text;
};

const invalid = (source: string, path: string, problem: string) =>
	new CutlayerError('scenario-invalid', `${path ? `\`${path}\` in ` : ''}${source}: ${problem}`);

/** Names a misspelt key before anything else, with the nearest known one. */
function checkKeys(schema: Schema, value: Json, path: string, source: string): void {
	if (Array.isArray(value) && schema.items) {
		for (const [index, item] of value.entries()) checkKeys(schema.items, item as Json, `${path}.${index}`, source);
		return;
	}
	const branch = branchOf(schema, value);
	if (!branch?.properties) return;
	const known = Object.keys(branch.properties);
	for (const [key, inner] of Object.entries(value)) {
		const at = path ? `${path}.${key}` : key;
		const property = branch.properties[key];
		if (!property) {
			const near = closest(key, known);
			const hint =
				distance(key, near) <= Math.max(2, key.length / 3)
					? `did you mean \`${near}\`?`
					: `known here: ${known.join(', ')}`;
			throw invalid(source, at, `unknown key; ${hint}`);
		}
		if (typeof inner === 'object' && inner !== null) checkKeys(property, inner as Json, at, source);
	}
}

/** The member of a union that the value's `kind` names; the schema itself when it is no union. */
function branchOf(schema: Schema, value: unknown): Schema | undefined {
	if (!schema.anyOf) return schema;
	const kind = (value as Json)?.kind;
	if (kind === undefined) return undefined;
	return schema.anyOf.find(branch => branch.properties?.kind?.const === kind);
}

function firstProblem(filled: unknown, source: string, root: Schema = scenarioSchema): CutlayerError {
	const inner = innermost(root, filled, []);
	// Where no member of a union has that kind, what each of them misses is no help.
	if (inner.schema.anyOf?.[0]?.properties?.kind !== undefined) {
		const expected = allowed(inner.schema, {keyword: 'anyOf', message: '', params: {}});
		return invalid(source, inner.keys.join('.'), `expected ${expected}, got ${show(inner.value)}`);
	}
	const errors = Value.Errors(inner.schema, Value.Default(inner.schema, inner.value));
	const problem =
		errors.find(error => error.keyword !== 'additionalProperties' && error.keyword !== 'anyOf') ?? errors[0]!;
	const keys = [...inner.keys, ...problem.instancePath.split('/').slice(1)];
	const {schema, value, depth} = descend(root, filled, keys);
	const path = keys.slice(0, depth).join('.');
	return invalid(source, path, `expected ${allowed(branchOf(schema, value) ?? schema, problem)}, got ${show(value)}`);
}

type Place = {readonly schema: Schema; readonly value: unknown; readonly keys: readonly string[]};

/** The innermost object or list that does not fit, as the member of a union that its `kind` names: what other members would ask is no help. */
function innermost(schema: Schema, value: unknown, keys: readonly string[]): Place {
	const branch = branchOf(schema, value) ?? schema;
	for (const [key, inner] of Object.entries(value as Json)) {
		const next = Array.isArray(value) ? branch.items : branch.properties?.[key];
		if (next && typeof inner === 'object' && inner !== null && !Value.Check(next, inner))
			return innermost(next, inner, [...keys, key]);
	}
	return {schema: branch, value, keys};
}

/** Follows a path as far as the union whose `kind` does not fit, or to its end. */
function descend(schema: Schema, value: unknown, keys: readonly string[]) {
	let depth = 0;
	for (const key of keys) {
		const branch = branchOf(schema, value);
		const next = Array.isArray(value) ? schema.items : branch?.properties?.[key];
		if (!next) break;
		schema = next;
		value = (value as Json)[key];
		depth++;
	}
	return {schema, value, depth};
}

function allowed(schema: Schema, problem: {keyword: string; message: string; params: unknown}): string {
	if (problem.keyword === 'required') {
		return `the key \`${(problem.params as {requiredProperties: string[]}).requiredProperties.join('`, `')}\``;
	}
	const kinds = schema.anyOf?.map(
		branch => branch.properties?.kind?.const ?? branch.const ?? (branch as Json).description,
	);
	if (kinds) return `${schema.anyOf![0]!.properties ? 'kind ' : ''}one of ${kinds.join(', ')}`;
	const {type, minimum, maximum, exclusiveMinimum} = schema as Json;
	const bounds = [
		minimum === undefined ? '' : ` >= ${minimum}`,
		exclusiveMinimum === undefined ? '' : ` > ${exclusiveMinimum}`,
		maximum === undefined ? '' : ` <= ${maximum}`,
	]
		.filter(bound => bound !== '')
		.join(' and');
	return type
		? `${/^[aeiou]/.test(String(type)) ? 'an' : 'a'} ${type}${bounds}${type === 'string' ? ` (${problem.message})` : ''}`
		: problem.message;
}

/** Contradictions no single value shows. */
function checkSense(scenario: Scenario, source: string): void {
	const {data} = scenario;
	const policy = policyProblem(scenario);
	if (policy) throw invalid(source, policy.path, policy.problem);
	if (scenario.stop.targetLoss !== undefined && (scenario.evaluation.everyRounds === 0 || data.validationRows === 0)) {
		throw invalid(
			source,
			'stop.targetLoss',
			'the validation loss is never measured; set evaluation.everyRounds and data.validationRows above 0',
		);
	}
	if (scenario.privacy?.activations && !scenario.mainServer) {
		throw invalid(source, 'privacy.activations', 'without a main server no activations leave a client; remove it');
	}
	const step = stepClosingProblem(scenario);
	if (step) throw invalid(source, step.path, step.problem);
	const fault =
		attachProblem(scenario) ??
		faultProblem(scenario) ??
		cutProblem(scenario) ??
		uShapeProblem(scenario) ??
		pipelineProblem(scenario) ??
		rankProblem(scenario);
	if (fault) throw invalid(source, fault.path, fault.problem);
	if (data.kind !== 'restaurants' && !data.path) {
		throw invalid(
			source,
			'data.path',
			`data of kind ${data.kind} needs a path to a file${data.kind === 'e2e' ? ' or the folder with trainset.csv' : ''}`,
		);
	}
}
