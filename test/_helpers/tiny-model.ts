/**
A model folder for whole runs: the tiny golden Llama with a tokenizer of 512 ids made here, and a scenario that trains it in seconds.
*/
import {symlinkSync, writeFileSync} from 'node:fs';
import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import path from 'node:path';
import type {ScenarioFile} from '../../protocols/scenario.ts';

export const goldenModel: string = path.resolve(import.meta.dirname, '../golden/tiny-llama/model');

/** A folder that is gone after `use`. */
export async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
	const folder = await mkdtemp(path.join(tmpdir(), 'cutlayer-tiny-'));
	try {
		return await use(folder);
	} finally {
		await rm(folder, {recursive: true, force: true});
	}
}

/** Makes `folder` a whole model: weights and configuration by links, so that a test may replace one of them. */
export function makeTinyModel(folder: string): void {
	for (const file of ['config.json', 'model.safetensors']) {
		symlinkSync(path.join(goldenModel, file), path.join(folder, file));
	}
	writeFileSync(path.join(folder, 'tokenizer.json'), JSON.stringify(tokenizerJson()));
}

/** How byte-level tokenizers write a byte: printable ones as they are, the others from U+0100 on. */
function byteTexts(): string[] {
	let next = 0x100;
	const isPrintable = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
	return Array.from({length: 256}, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : next++));
}

/** Id 0 ends a text, then the bytes, then pairs of frequent letters. */
function tokenizerJson(): object {
	const bytes = byteTexts();
	const letters = [bytes[32]!, ...'etaoinsrhldcu['];
	const pairs = letters.flatMap(first => letters.map(second => [first, second] as const)).slice(0, 512 - 257);
	const tokens = ['<|endoftext|>', ...bytes, ...pairs.map(pair => pair.join(''))];
	return {
		version: '1.0',
		added_tokens: [{id: 0, content: '<|endoftext|>', special: true, normalized: false}],
		normalizer: null,
		pre_tokenizer: {type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true},
		post_processor: null,
		decoder: {type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true},
		model: {
			type: 'BPE',
			vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
			merges: pairs.map(pair => pair.join(' ')),
		},
	};
}

/** Two clients, six steps in two rounds, everything that can differ between runs switched off or keyed. */
export const tinyScenario = (model: string, changes: Partial<ScenarioFile> = {}): ScenarioFile => ({
	name: 'tiny',
	model,
	cut: 2,
	clients: 2,
	lora: {rank: 2, alpha: 4, dropout: 0.1},
	data: {kind: 'restaurants', batchSize: 2, validationRows: 4, tokensMax: 64},
	training: {steps: 6, stepsPerRound: 3, learningRate: 1e-2},
	...changes,
});
