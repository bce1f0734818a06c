/**
How many of some clients must have come: a count, or a fraction of them. Its place in a schema, and what can be wrong with it.
*/
import Type from 'typebox';
import type {ScenarioProblem} from './errors.ts';
import {optionalCount} from './schema-parts.ts';

/** The properties of a quorum; exactly one of them is given. `what` is counted, `of` is the whole. */
export const quorumParts = (what: string, of: string) => ({
	count: optionalCount(`${what}; count or fraction`),
	fraction: Type.Optional(Type.Number({exclusiveMinimum: 0, maximum: 1, description: `of ${of}; count or fraction`})),
});

type Given = {readonly count?: number; readonly fraction?: number};

/** What is wrong with a quorum at `path` of `name` (`a quorum`) over so many clients. */
export function quorumProblem(
	{path, name}: {readonly path: string; readonly name: string},
	{count, fraction}: Given,
	clients: number,
): ScenarioProblem | undefined {
	if ((count === undefined) === (fraction === undefined))
		return {path, problem: `${name} needs either count or fraction; give one of the two`};
	return count !== undefined && count > clients ? overClients(`${path}.count`, count, clients) : undefined;
}

/** A number that asks for more clients than there are. */
export const overClients = (path: string, found: number, clients: number): ScenarioProblem => ({
	path,
	problem: `expected at most the ${clients} clients, got ${found}; lower it or add clients`,
});

/** The least whole number that is at least `share` of `total`: 55 for 0.55 of 100, whatever their product rounds to. */
export const wholeShare = (share: number, total: number): number => Math.ceil(share * total * (1 - 1e-12));
