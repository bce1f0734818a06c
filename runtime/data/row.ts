/**
One training text before it is tokenised, and the template that turns it into a prompt and a completion.
*/

/** `meaning`: a meaning representation and a sentence for it; `pair`: a prompt and a completion as they stand; `text`: free text. */
export type Row = {
	readonly kind: 'meaning' | 'pair' | 'text';
	/** The meaning representation or the prompt; empty for free text. */
	readonly source: string;
	/** What the model learns to write. */
	readonly target: string;
};

/** The one place where a row becomes text. The end-of-text token of the model follows the completion. */
export function renderRow({kind, source, target}: Row): {prompt: string; completion: string} {
	return kind === 'meaning'
		? {prompt: promptOf(source), completion: ` ${target}`}
		: {prompt: source, completion: target};
}

/** The prompt for a meaning representation, in training and generation. */
export const promptOf = (meaning: string): string => `${meaning} ||`;

/** The slots of a meaning representation: `name[Aroma], area[riverside]` is `{name: 'Aroma', area: 'riverside'}`. */
export function attributesOf(meaning: string): Record<string, string> {
	const slots = meaning.matchAll(/([^,[\]]+)\[([^\]]*)\]/g);
	return Object.fromEntries(Array.from(slots, ([, name, value]) => [name!.trim(), value!]));
}
