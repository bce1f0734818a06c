/**
The tensors of a trace of level `full`: each once, in a file named by its digest. The store is bounded: the tensors that were
named least recently go first. Writing never waits, and a tensor that finds no room is counted, not waited for.
*/
import {createHash} from 'node:crypto';
import {mkdir, readdir, readFile, rename, rm, stat, writeFile} from 'node:fs/promises';
import {dirname, join} from 'node:path';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import {byteLengthOf, type Dtype, type Tensor} from '../../protocols/tensor.ts';

const digestHexDigits = 32;

/** `f32[12,576]:0f3a...`: what a record says of a tensor. Equal bytes of equal dtype and shape have equal digests. */
export const digestOf = ({dtype, shape, bytes}: Tensor): string =>
	`${dtype}[${shape.join(',')}]:${createHash('sha256').update(bytes).digest('hex').slice(0, digestHexDigits)}`;

export type TensorArchiveOptions = {
	/** Bytes all files may have; default 4 GiB. */
	readonly bytesMax?: number;
	/** Bytes that may wait for the disk; default 256 MiB. */
	readonly queueBytesMax?: number;
	readonly onNotice: (text: string) => void;
};

export class TensorArchive {
	readonly #folder: string;
	readonly #options: TensorArchiveOptions;
	readonly #bytesMax: number;
	readonly #queueBytesMax: number;
	/** Sizes by digest, least recently named first. */
	readonly #sizes: Map<string, number>;
	#bytes: number;
	#queue: {readonly digest: string; readonly bytes: Uint8Array}[] = [];
	#queueBytes = 0;
	#writing: Promise<void> | undefined;
	#isBroken = false;
	#lost = 0;

	private constructor(folder: string, options: TensorArchiveOptions, sizes: Map<string, number>) {
		this.#folder = folder;
		this.#options = options;
		this.#bytesMax = options.bytesMax ?? 4 * 2 ** 30;
		this.#queueBytesMax = options.queueBytesMax ?? 256 << 20;
		this.#sizes = sizes;
		this.#bytes = [...sizes.values()].reduce((total, size) => total + size, 0);
	}

	/** Goes on with the tensors that a former part of the run left. */
	static async open(folder: string, options: TensorArchiveOptions): Promise<TensorArchive> {
		await mkdir(folder, {recursive: true});
		const files = (await readdir(folder, {recursive: true})).filter(name => /[0-9a-f]{32}$/.test(name));
		const sizes = new Map<string, number>();
		for (const name of files.sort()) sizes.set(name.slice(-digestHexDigits), (await stat(join(folder, name))).size);
		return new TensorArchive(folder, options, sizes);
	}

	/** Tensors that are not in the store although a record names them, for want of room in the queue or on the disk. */
	get lost(): number {
		return this.#lost;
	}

	/** Keeps a tensor under its digest, once. The bytes must not change afterwards. */
	put(digest: string, {bytes}: Tensor): void {
		const key = keyOf(digest);
		const known = this.#sizes.get(key);
		if (known !== undefined) {
			this.#sizes.delete(key);
			this.#sizes.set(key, known);
			return;
		}
		if (
			this.#isBroken ||
			this.#queueBytes + bytes.byteLength > this.#queueBytesMax ||
			bytes.byteLength > this.#bytesMax
		) {
			this.#lost++;
			return;
		}
		this.#sizes.set(key, bytes.byteLength);
		this.#bytes += bytes.byteLength;
		this.#queue.push({digest: key, bytes});
		this.#queueBytes += bytes.byteLength;
		this.#writing ??= this.#writeQueue().finally(() => {
			this.#writing = undefined;
		});
	}

	/** Resolves when everything put so far is on the disk or given up. */
	async close(): Promise<void> {
		while (this.#writing) await this.#writing;
	}

	async #writeQueue(): Promise<void> {
		for (let next = this.#queue.shift(); next; next = this.#queue.shift()) {
			try {
				await this.#evict();
				await this.#write(next.digest, next.bytes);
			} catch (error) {
				this.#break(error, next.digest);
			}
			this.#queueBytes -= next.bytes.byteLength;
		}
	}

	async #evict(): Promise<void> {
		for (const [digest, size] of this.#sizes) {
			if (this.#bytes <= this.#bytesMax) return;
			this.#sizes.delete(digest);
			this.#bytes -= size;
			await rm(pathOf(this.#folder, digest), {force: true});
		}
	}

	async #write(digest: string, bytes: Uint8Array): Promise<void> {
		// Evicted before it was written.
		if (!this.#sizes.has(digest)) return;
		const path = pathOf(this.#folder, digest);
		await mkdir(dirname(path), {recursive: true});
		await writeFile(`${path}.tmp`, bytes);
		await rename(`${path}.tmp`, path);
	}

	#break(error: unknown, digest: string): void {
		this.#lost += 1 + this.#queue.length;
		this.#sizes.delete(digest);
		this.#queue = [];
		this.#queueBytes = 0;
		if (!this.#isBroken)
			this.#options.onNotice(`Cannot keep tensors of the trace: ${errorText(error)}; it goes on with digests alone`);
		this.#isBroken = true;
	}
}

/** The tensor a digest names, proven by its bytes; nothing when it was evicted. Throws `trace-invalid` for changed bytes. */
export async function readTensor(folder: string, digest: string): Promise<Tensor | undefined> {
	const path = pathOf(folder, keyOf(digest));
	const bytes = await readFile(path).catch(() => undefined);
	if (!bytes) return undefined;
	const [, dtype, extents] = /^(\w+)\[([\d,]*)\]:/.exec(digest) ?? [];
	const shape = extents ? extents.split(',').map(Number) : [];
	const tensor = {dtype: dtype as Dtype, shape, bytes: new Uint8Array(bytes)};
	if (digestOf(tensor) !== digest || bytes.byteLength !== byteLengthOf(tensor.dtype, shape))
		throw new CutlayerError('trace-invalid', `${path} does not hold what its name says: its bytes were changed`);
	return tensor;
}

const keyOf = (digest: string) => digest.slice(-digestHexDigits);
const pathOf = (folder: string, key: string) => join(folder, key.slice(0, 2), key);
