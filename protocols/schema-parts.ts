/**
Pieces that the scenario's schemas are made of. Each holds its default and a line that says what the value is.
*/
import Type, {type TSchema} from 'typebox';

/** One of the given words. */
export const literals = <T extends string>(...values: readonly T[]) =>
	Type.Unsafe<T>(Type.Union(values.map(value => Type.Literal(value))));

/** An object that has no other keys. */
export const section = <P extends Record<string, TSchema>>(
	properties: P,
	options: {description?: string; source?: string; default?: unknown} = {},
) => Type.Object(properties, {additionalProperties: false, ...options});

export const integer = (minimum: number, standard: number, description: string) =>
	Type.Integer({minimum, maximum: 1e9, default: standard, description});

export const positive = (standard: number, description: string) =>
	Type.Number({exclusiveMinimum: 0, maximum: 1e12, default: standard, description});

/** A share from 0 to 1. */
export const unit = (standard: number, description: string) =>
	Type.Number({minimum: 0, maximum: 1, default: standard, description});

export const flag = (standard: boolean, description: string) => Type.Boolean({default: standard, description});

/** A count that may be left out. */
export const optionalCount = (description: string) =>
	Type.Optional(Type.Integer({minimum: 1, maximum: 1e9, description}));

/** A policy by its `kind`: `description` is one line, `source` where it comes from. */
export const policy = <K extends string, P extends Record<string, TSchema>>(
	kind: K,
	description: string,
	source: string,
	properties: P,
) => section({kind: Type.Literal(kind), ...properties}, {description, source});

/** A policy that is one word, with its line and where it comes from. */
export const choice = <K extends string>(name: K, description: string, source: string) =>
	Type.Literal(name, {description, source});
