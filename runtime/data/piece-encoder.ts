/**
Encodes a text piece by piece and remembers the ids of pieces: most words of a corpus come back. The pieces are those of the
tokenizer's own patterns, each of which splits into itself alone, so the ids are those of the whole text.
*/

type Json = Readonly<Record<string, unknown>>;

/** Remembered pieces; all are forgotten when there are more. */
const piecesMax = 100_000;

/** Longer pieces, in characters, are not words and hardly come back. */
const pieceLengthMax = 64;

/**
A fast form of `encode` for a `tokenizer.json` whose pre-tokenizer is a sequence of isolating patterns and then bytes;
undefined for any other, which has to be encoded whole.
*/
export function pieceEncoder(json: Json, encode: (text: string) => number[]): ((text: string) => number[]) | undefined {
	const splitters = splittersOf(json);
	if (!splitters) return undefined;
	const remembered = new Map<string, number[]>();
	const encodePiece = (piece: string): number[] => {
		const known = remembered.get(piece);
		if (known) return known;
		const ids = encode(piece);
		if (piece.length > pieceLengthMax) return ids;
		if (remembered.size >= piecesMax) remembered.clear();
		remembered.set(piece, ids);
		return ids;
	};
	const {whole, steps} = splitters;
	const piecesOf = (text: string) => steps.reduce((parts, regex) => parts.flatMap(part => part.split(regex)), [text]);
	return text => {
		const ids: number[] = [];
		// splitting by a group puts what matched, an added token, at the odd places
		for (const [place, section] of (whole ? text.split(whole) : [text]).entries()) {
			for (const piece of place % 2 === 1 ? [section] : piecesOf(section)) {
				if (piece === '') continue;
				for (const id of encodePiece(piece)) ids.push(id);
			}
		}
		return ids;
	};
}

/** Regular expressions with one group, so that splitting keeps what matched: added tokens first, then each step's pattern. */
function splittersOf(json: Json): {whole: RegExp | undefined; steps: RegExp[]} | undefined {
	if (json.normalizer !== null && json.normalizer !== undefined) return undefined;
	const steps = stepsOf(json.pre_tokenizer);
	const last = steps.pop();
	if (last?.type !== 'ByteLevel' || last.use_regex !== false || last.add_prefix_space === true) return undefined;
	const sources = steps.map(sourceOf);
	const whole = wholeTokens(json.added_tokens);
	if (whole === undefined || !sources.every(source => source !== undefined)) return undefined;
	try {
		return {
			whole: whole === '' ? undefined : new RegExp(`(${whole})`, 'u'),
			steps: sources.map(source => new RegExp(`(${source})`, 'u')),
		};
	} catch {
		return undefined; // a pattern of another dialect
	}
}

/** Nested sequences as one list. */
function stepsOf(step: unknown): Json[] {
	const {type, pretokenizers} = (step ?? {}) as Json;
	return type === 'Sequence' && Array.isArray(pretokenizers) ? pretokenizers.flatMap(stepsOf) : [(step ?? {}) as Json];
}

function sourceOf({type, behavior, invert, pattern}: Json): string | undefined {
	const regex = (pattern as {Regex?: unknown} | undefined)?.Regex;
	const isIsolating = type === 'Split' && behavior === 'Isolated' && invert !== true && typeof regex === 'string';
	// a group of its own would add what it matched to the pieces
	return isIsolating && !/(?<!\\)\((?!\?)|\(\?<\w/.test(regex) ? regex : undefined;
}

/** One alternative a token, longest first as the library takes them; undefined when tokens also strip spaces. */
function wholeTokens(added: unknown): string | undefined {
	const tokens = (Array.isArray(added) ? added : []) as (Json & {content: string})[];
	if (tokens.some(({lstrip, rstrip, single_word}) => lstrip === true || rstrip === true || single_word === true)) {
		return undefined;
	}
	const contents = tokens.map(({content}) => content).sort((a, b) => b.length - a.length);
	return contents.map(content => content.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')).join('|');
}
