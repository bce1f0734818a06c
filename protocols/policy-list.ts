/**
Every policy that a scenario can name, read off its schema. Pure.
*/
import type {TSchema} from 'typebox';
import {scenarioSchema} from './scenario.ts';

/** A setting of a policy; without a default it may be left out. */
type Parameter = {readonly name: string; readonly default?: unknown; readonly description: string};

/** `kind` is the path in a scenario where `name` is chosen, either as its `kind` or as the value itself. */
export type PolicyRow = {
	readonly kind: string;
	readonly name: string;
	readonly description: string;
	readonly source: string;
	readonly isDefault: boolean;
	readonly parameters: readonly Parameter[];
};

type Schema = TSchema & {
	readonly properties?: Record<string, Schema>;
	readonly anyOf?: readonly Schema[];
	readonly const?: string;
	readonly default?: unknown;
	readonly description?: string;
	readonly source?: string;
};

/** All policies in the order of the schema, each once; what several rules share (`closing.late`) is at the first of them. */
export function policyRows(): PolicyRow[] {
	const rows = rowsOf(scenarioSchema as Schema, '');
	const nameOf = ({kind, name}: PolicyRow) => `${kind} ${name}`;
	return [...new Map(rows.toReversed().map(row => [nameOf(row), row])).values()].toReversed();
}

function rowsOf(schema: Schema, kind: string): PolicyRow[] {
	const choices = schema.anyOf ?? [];
	const rows = choices.flatMap(choice => rowOf(choice, kind, schema.default) ?? []);
	const inner = [schema, ...choices].flatMap(({properties = {}}) =>
		Object.entries(properties).flatMap(([key, property]) => rowsOf(property, kind === '' ? key : `${kind}.${key}`)),
	);
	return [...rows, ...inner];
}

/** A choice that says where it comes from is a policy. */
function rowOf(choice: Schema, kind: string, standard: unknown): PolicyRow | undefined {
	const {description = '', source} = choice;
	if (source === undefined) return undefined;
	const {kind: named, ...parameters} = choice.properties ?? {};
	const name = named?.const ?? choice.const!;
	const isDefault = standard === name || (standard as {kind?: string} | undefined)?.kind === name;
	return {kind, name, description, source, isDefault, parameters: Object.entries(parameters).map(parameterOf)};
}

const parameterOf = ([name, schema]: [string, Schema]): Parameter => ({
	name,
	...(schema.default !== undefined && {default: schema.default}),
	description: schema.description ?? '',
});
