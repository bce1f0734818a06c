/**
Checkpoints of one actor as files of a folder: each written whole or not at all, the last two kept. What is in them it does not know.
*/
import {mkdir, readdir, readFile, rm} from 'node:fs/promises';
import {join} from 'node:path';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import {replaceFile} from './folder.ts';

const kept = 2;
const nameOf = (number: number) => `${String(number).padStart(8, '0')}.checkpoint`;

async function namesIn(folder: string): Promise<string[]> {
	const names = await readdir(folder).catch(() => []);
	return names.filter(name => /^\d{8}\.checkpoint$/.test(name)).sort();
}

export class CheckpointFiles {
	readonly #folder: string;
	#next = 0;
	#isOpen = false;

	constructor(folder: string) {
		this.#folder = folder;
	}

	/** Resolves when it is on the disk. Throws `disk`; the ones before it stay. */
	async write(bytes: Uint8Array): Promise<void> {
		if (!this.#isOpen) await this.#open();
		const number = this.#next;
		await replaceFile(join(this.#folder, nameOf(number)), bytes);
		this.#next++;
		if (number >= kept) await rm(join(this.#folder, nameOf(number - kept)), {force: true});
	}

	/** What `parse` makes of the newest that is whole, nothing when there is none at all; `onProblem` hears why a newer one is not. Throws `checkpoint-unusable`. */
	async read<T>(parse: (bytes: Uint8Array) => T, onProblem: (text: string) => void): Promise<T | undefined> {
		const names = await namesIn(this.#folder);
		const problems: string[] = [];
		for (const name of names.toReversed()) {
			try {
				return parse(await readFile(join(this.#folder, name)));
			} catch (error) {
				problems.push(`${name}: ${errorText(error)}`);
				onProblem(
					`The checkpoint ${join(this.#folder, name)} cannot be used (${errorText(error)}): the one before it is taken, and what came after that is not in it`,
				);
			}
		}
		if (names.length === 0) return undefined;
		throw new CutlayerError(
			'checkpoint-unusable',
			`No usable checkpoint in ${this.#folder} (${problems.join('; ')}); start the run anew`,
		);
	}

	async #open(): Promise<void> {
		try {
			await mkdir(this.#folder, {recursive: true});
		} catch (error) {
			throw new CutlayerError('disk', `Cannot make ${this.#folder}: ${errorText(error)}; give another --out`, {
				cause: error,
			});
		}
		const last = (await namesIn(this.#folder)).at(-1);
		this.#next = last === undefined ? 0 : Number.parseInt(last, 10) + 1;
		this.#isOpen = true;
	}
}
