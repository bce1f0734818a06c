/**
The check at the door: whether two actors may train together. Pure.
*/
import type {HandledBody, Outgoing} from '../protocols/events.ts';
import type {Agreement} from '../protocols/messages.ts';

type Refusal = HandledBody<'refused'>;

const fixes: Partial<Record<keyof Agreement, string>> = {
	protocol: 'run the same version of Cutlayer on both sides',
	modelHash: 'use the same base weights on both sides',
	vocabularyHash: 'use the tokenizer that belongs to the model',
};

/** The first field in which the two differ, as a refusal that holds both values; nothing when they agree. */
export function refusalOf(verb: string, ours: Agreement, theirs: Agreement): Refusal | undefined {
	for (const field of Object.keys({...ours, ...theirs}) as (keyof Agreement)[]) {
		if (field === 'ranks' || field === 'cuts') continue;
		const expected = expectedOf(field, ours, theirs);
		const found = shown(theirs[field]);
		if (expected.includes(found)) continue;
		const fix = fixes[field] ?? `set ${field} to ${expected.join(' or ')} or join another run`;
		return {verb, code: 'mismatch', field, found, expected: expected.join(' or '), fix};
	}
	return undefined;
}

const shown = (value: unknown): string => JSON.stringify(value) ?? 'none';

/** The values that agree. Servers, which name the ranks and cuts they take, have one of each; their clients one of those. */
function expectedOf(field: keyof Agreement, ours: Agreement, theirs: Agreement): string[] {
	const list = field === 'rank' ? 'ranks' : field === 'cut' ? 'cuts' : undefined;
	const taken = list && !theirs[list] ? ours[list] : undefined;
	return taken ? taken.map(value => `${value}`) : [shown(ours[field])];
}

/** The refusal of what an older incarnation sends once a newer one is known. */
export const fenced = (verb: string, to: string, found: number, expected: number): Outgoing => ({
	verb: 'refused',
	to,
	body: {
		verb,
		code: 'fenced',
		field: 'incarnation',
		found: String(found),
		expected: `at least ${expected}`,
		fix: 'a newer incarnation of this client has joined; stop this one',
	},
});
