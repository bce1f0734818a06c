/**
Byte-level BPE tokenizers from a vocabulary, merges and the name of a pre-tokeniser, in the form of a `tokenizer.json`.
Pure; the files they come from are read elsewhere.
*/

/** The parts of a byte-level BPE tokenizer. */
export type ByteLevelParts = {
	/** Tokens by id. */
	readonly tokens: readonly string[];
	/** Pairs joined by a space, best first. */
	readonly merges: readonly string[];
	/** A name of `preTokenizers`. */
	readonly pre: string;
	/** Ids of tokens that are taken as a whole wherever they stand in a text. */
	readonly whole: readonly number[];
};

type Json = Readonly<Record<string, unknown>>;

/** Unicode's white space: JavaScript's own class lacks U+0085 and has U+FEFF. */
const gpt2 =
	"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\p{White_Space}\\p{L}\\p{N}]+|" +
	'\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+';

/** The contractions of newer tokenizers, without the inline flag that this runtime's regular expressions lack. */
const contractions = "(?:'[sSſ]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";

const modern = (digits: string) =>
	`${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\p{White_Space}\\p{L}\\p{N}]+[\\r\\n]*|` +
	'\\p{White_Space}*[\\r\\n]+|\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+';

/** Each name's patterns; a text is split by them one after another. */
const patterns: Readonly<Record<string, readonly string[]>> = {
	'gpt-2': [gpt2],
	smollm: ['\\p{N}', gpt2],
	'llama-bpe': [modern('\\p{N}{1,3}')],
	qwen2: [modern('\\p{N}')],
};

/** The names of pre-tokenisers as GGUF files give them in `tokenizer.ggml.pre`. */
export const preTokenizers: readonly string[] = Object.keys(patterns);

/** A `tokenizer.json` with these parts. */
export function byteLevelJson({tokens, merges, pre, whole}: ByteLevelParts): Json {
	const steps = patterns[pre]?.map(splitStep);
	if (!steps) throw new Error(`There is no pre-tokeniser ${pre}`);
	return {
		added_tokens: whole.map(id => ({id, content: tokens[id]!, special: true, normalized: false})),
		normalizer: null,
		pre_tokenizer: {type: 'Sequence', pretokenizers: [...steps, bytesStep]},
		post_processor: null,
		decoder: {type: 'ByteLevel'},
		model: {
			type: 'BPE',
			vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
			merges,
			ignore_merges: pre === 'llama-bpe',
		},
	};
}

/**
A `pre_tokenizer` of a tokenizer.json with the same meaning here as where it was made: digits are those of Unicode,
and so is white space.
*/
export function unicodePreTokenizer(step: unknown): unknown {
	if (typeof step !== 'object' || step === null) return step;
	const {type, ...rest} = step as Json;
	if (type === 'Sequence' && Array.isArray(rest.pretokenizers)) {
		return {type, pretokenizers: rest.pretokenizers.map(unicodePreTokenizer)};
	}
	if (type === 'Digits') return splitStep(rest.individual_digits === true ? '\\p{N}' : '\\p{N}+');
	if (type === 'ByteLevel' && rest.use_regex !== false && rest.add_prefix_space !== true) {
		return {type: 'Sequence', pretokenizers: [splitStep(gpt2), bytesStep]};
	}
	const regex = (rest.pattern as {Regex?: unknown} | undefined)?.Regex;
	if (type !== 'Split' || typeof regex !== 'string') return step;
	const translated = regex
		.replaceAll("(?i:'s|'t|'re|'ve|'m|'ll|'d)", contractions)
		.replaceAll('\\s', '\\p{White_Space}')
		.replaceAll('\\S', '\\P{White_Space}');
	return {...rest, type, pattern: {Regex: translated}};
}

const splitStep = (regex: string) => ({type: 'Split', pattern: {Regex: regex}, behavior: 'Isolated', invert: false});

const bytesStep = {type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false};
