/**
Turns text into token ids and back, with the tokenizer that belongs to a model folder or GGUF file.
*/
import {createHash} from 'node:crypto';
import {readFile, stat} from 'node:fs/promises';
import {join} from 'node:path';
import {Tokenizer as HfTokenizer} from '@huggingface/tokenizers';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import {type GgufMetadata, readGgufMetadata} from '../weights/gguf.ts';
import {byteLevelJson, preTokenizers, unicodePreTokenizer} from './byte-level.ts';
import {pieceEncoder} from './piece-encoder.ts';

/** Text to ids and back. Special tokens in a text, such as `<|im_end|>`, are one id each; none is added. */
export interface Tokenizer {
	encode(text: string): number[];
	decode(ids: readonly number[]): string;
	/** The token that ends a text. */
	readonly eosId: number;
	readonly bosId?: number;
	/** Tokens that have an id; a model's embedding may be larger. */
	readonly vocabularySize: number;
	/** SHA-256 over tokens and merges, hex: the vocabulary hash of `hello`; the same for a folder and a GGUF file of one model. */
	readonly vocabularyHash: string;
}

/**
Opens the tokenizer of a Hugging Face folder (`tokenizer.json`, or GPT-2's `vocab.json` and `merges.txt`) or of a GGUF file.
Throws `tokenizer-unsupported` naming what is missing or not supported.
*/
export async function openTokenizer(modelPath: string): Promise<Tokenizer> {
	const status = await stat(modelPath).catch(() => undefined);
	if (!status) throw unsupported(`There is no model at ${modelPath}; expected a folder or a .gguf file`);
	if (!status.isDirectory()) return fromGguf(modelPath, await readGgufMetadata(modelPath));
	return (await exists(join(modelPath, 'tokenizer.json'))) ? fromJson(modelPath) : fromVocabulary(modelPath);
}

type Json = Readonly<Record<string, unknown>>;

type Parts = {
	/** A `tokenizer.json`. */
	readonly json: Json;
	readonly tokens: readonly (string | undefined)[];
	readonly merges: readonly string[];
	readonly eosId: number;
	readonly bosId: number | undefined;
};

function tokenizerOf(path: string, {json, tokens, merges, eosId, bosId}: Parts): Tokenizer {
	const library = createLibraryTokenizer(path, json);
	const hash = createHash('sha256')
		.update(JSON.stringify([tokens, merges]))
		.digest('hex');
	const encode = (text: string) => library.encode(text, {add_special_tokens: false}).ids;
	return {
		encode: pieceEncoder(json, encode) ?? encode,
		decode: ids =>
			ids.length === 0
				? ''
				: library.decode([...ids], {skip_special_tokens: false, clean_up_tokenization_spaces: false}),
		eosId,
		...(bosId === undefined ? {} : {bosId}),
		vocabularySize: tokens.length,
		vocabularyHash: hash,
	};
}

function createLibraryTokenizer(path: string, json: Json): HfTokenizer {
	try {
		return new HfTokenizer(json, {clean_up_tokenization_spaces: false});
	} catch (error) {
		throw new CutlayerError(
			'tokenizer-unsupported',
			`${path} has a tokenizer that cannot be used: ${errorText(error)}`,
			{cause: error},
		);
	}
}

async function fromJson(folder: string): Promise<Tokenizer> {
	const path = join(folder, 'tokenizer.json');
	const json = asJson(await readJson(path));
	const model = asJson(json.model);
	if (model.type !== 'BPE') throw unsupported(`${path} has a ${String(model.type)} tokenizer; only BPE is supported`);
	const merges = (Array.isArray(model.merges) ? model.merges : []).map(merge =>
		Array.isArray(merge) ? merge.join(' ') : String(merge),
	);
	const tokens: string[] = [];
	for (const [token, id] of Object.entries(asJson(model.vocab))) tokens[id as number] = token;
	const added = (Array.isArray(json.added_tokens) ? json.added_tokens : []) as {id: number; content: string}[];
	for (const {id, content} of added) tokens[id] = content;
	const special = await specialIds(folder, token => tokens.indexOf(token));
	const patched = {...json, pre_tokenizer: unicodePreTokenizer(json.pre_tokenizer)};
	return tokenizerOf(path, {json: patched, tokens: Array.from(tokens), merges, ...special});
}

/** GPT-2's own two files. */
async function fromVocabulary(folder: string): Promise<Tokenizer> {
	const [vocabularyPath, mergesPath] = [join(folder, 'vocab.json'), join(folder, 'merges.txt')];
	if (!(await exists(vocabularyPath)) || !(await exists(mergesPath))) {
		throw unsupported(
			`${folder} has neither tokenizer.json nor vocab.json and merges.txt; get the tokenizer of the model`,
		);
	}
	const tokens: string[] = [];
	for (const [token, id] of Object.entries(asJson(await readJson(vocabularyPath)))) tokens[id as number] = token;
	const lines = (await readFile(mergesPath, 'utf8')).split('\n');
	const merges = lines.filter((line, index) => line !== '' && !(index === 0 && line.startsWith('#version')));
	const special = await specialIds(folder, token => tokens.indexOf(token));
	const json = byteLevelJson({tokens, merges, pre: 'gpt-2', whole: [special.eosId]});
	return tokenizerOf(vocabularyPath, {json, tokens, merges, ...special});
}

/** What GGUF calls a token's type when it is taken as a whole: control and user-defined. */
const wholeTypes = new Set([3, 4]);

function fromGguf(path: string, metadata: GgufMetadata): Tokenizer {
	const model = metadata['tokenizer.ggml.model'];
	if (model !== 'gpt2')
		throw unsupported(`${path} has a ${String(model)} tokenizer; only gpt2 (byte-level BPE) is supported`);
	const pre = metadata['tokenizer.ggml.pre'];
	if (typeof pre !== 'string' || !preTokenizers.includes(pre)) {
		throw unsupported(`${path} has the pre-tokeniser ${String(pre)}; supported are ${preTokenizers.join(', ')}`);
	}
	const tokens = metadata['tokenizer.ggml.tokens'];
	const merges = metadata['tokenizer.ggml.merges'];
	const types = metadata['tokenizer.ggml.token_type'];
	const eosId = metadata['tokenizer.ggml.eos_token_id'];
	const bosId = metadata['tokenizer.ggml.bos_token_id'];
	if (!isStrings(tokens) || !isStrings(merges)) throw unsupported(`${path} has no list of tokens and merges`);
	if (!isId(eosId, tokens))
		throw unsupported(
			`${path} has the end-of-text token ${String(eosId)}, which is no id of its ${tokens.length} tokens`,
		);
	const whole = (Array.isArray(types) ? types : []).flatMap((type, id) => (wholeTypes.has(type) ? [id] : []));
	const json = byteLevelJson({tokens, merges, pre, whole});
	return tokenizerOf(path, {json, tokens, merges, eosId, bosId: isId(bosId, tokens) ? bosId : undefined});
}

/** The ids of the tokens that end and begin a text, from `tokenizer_config.json`, else `config.json`. */
async function specialIds(
	folder: string,
	idOf: (token: string) => number,
): Promise<{eosId: number; bosId: number | undefined}> {
	const config = asJson(await readJson(join(folder, 'tokenizer_config.json')).catch(() => ({})));
	const modelConfig = asJson(await readJson(join(folder, 'config.json')).catch(() => ({})));
	const find = (name: 'eos' | 'bos') => {
		const token = config[`${name}_token`];
		const text = typeof token === 'string' ? token : asJson(token).content;
		const id = typeof text === 'string' ? idOf(text) : [modelConfig[`${name}_token_id`]].flat()[0];
		return typeof id === 'number' && id >= 0 ? id : undefined;
	};
	const eosId = find('eos');
	if (eosId !== undefined) return {eosId, bosId: find('bos')};
	throw unsupported(
		`${folder} names no end-of-text token; expected eos_token in tokenizer_config.json or eos_token_id in config.json`,
	);
}

const asJson = (value: unknown): Json => (typeof value === 'object' && value !== null ? (value as Json) : {});

const isStrings = (value: unknown): value is string[] =>
	Array.isArray(value) && value.every(item => typeof item === 'string');

const isId = (value: unknown, tokens: readonly string[]): value is number =>
	Number.isInteger(value) && (value as number) >= 0 && (value as number) < tokens.length;

const exists = (path: string) =>
	stat(path).then(
		() => true,
		() => false,
	);

async function readJson(path: string): Promise<unknown> {
	try {
		return JSON.parse(await readFile(path, 'utf8'));
	} catch (error) {
		throw new CutlayerError('tokenizer-unsupported', `Cannot read ${path}: ${errorText(error)}`, {cause: error});
	}
}

const unsupported = (message: string) => new CutlayerError('tokenizer-unsupported', message);
