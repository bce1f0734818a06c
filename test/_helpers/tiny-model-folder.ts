/**
A model folder that the command line can run in seconds: the tiny GPT-2 of the goldens with a tokenizer of single bytes.
*/
import {cp, readFile, writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import {goldenPath} from './golden.ts';

/** Makes it at `folder` and answers that path. */
export async function tinyModelFolder(folder: string): Promise<string> {
	await cp(goldenPath('tiny-gpt2/model'), folder, {recursive: true});
	const path = join(folder, 'config.json');
	const config = JSON.parse(await readFile(path, 'utf8')) as object;
	await writeFile(path, JSON.stringify({...config, eos_token_id: 256, bos_token_id: 256}));
	const tokens = [...byteLetters(), '<|endoftext|>'];
	await writeFile(
		join(folder, 'vocab.json'),
		JSON.stringify(Object.fromEntries(tokens.map((token, id) => [token, id]))),
	);
	await writeFile(join(folder, 'merges.txt'), '#version: 0.2\n');
	return folder;
}

/** GPT-2's letter for each byte: itself where it can be printed, else the next one from 256 on. */
function byteLetters(): string[] {
	let next = 256;
	const isPrinted = (byte: number) =>
		(byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
	return Array.from({length: 256}, (_, byte) => String.fromCodePoint(isPrinted(byte) ? byte : next++));
}
