/**
A file read in ranges that are checked against its size first, so that a lying header can neither allocate nor read beyond it.
*/
import {createHash} from 'node:crypto';
import {createReadStream} from 'node:fs';
import {open} from 'node:fs/promises';
import {CutlayerError, fileErrorText} from '../../protocols/errors.ts';

/** An open file of known size. */
export type BoundedFile = {
	readonly path: string;
	/** Bytes when the file was opened. */
	readonly size: number;
	/** The bytes `[start, end)` in memory of their own; throws `weights-invalid` when the file has not got them. */
	read(start: number, end: number): Promise<Uint8Array>;
	close(): Promise<void>;
};

/** Opens a weight file; throws `weights-invalid` when there is none or it cannot be read. */
export async function openBoundedFile(path: string): Promise<BoundedFile> {
	const handle = await open(path, 'r').catch(error => {
		throw new CutlayerError('weights-invalid', `Cannot open the weight file ${path}: ${fileErrorText(error)}`, {
			cause: error,
		});
	});
	const {size} = await handle.stat();
	return {
		path,
		size,
		async read(start, end) {
			if (start < 0 || end < start || end > size) throw torn(path, end, size);
			const bytes = new Uint8Array(end - start);
			for (let filled = 0; filled < bytes.length; ) {
				const {bytesRead} = await handle.read(bytes, filled, bytes.length - filled, start + filled);
				if (bytesRead === 0) throw torn(path, end, start + filled);
				filled += bytesRead;
			}
			return bytes;
		},
		close: () => handle.close(),
	};
}

/** SHA-256 over the content of the files, one after another in order of their names, hex. */
export async function hashOfFiles(paths: readonly string[]): Promise<string> {
	const hash = createHash('sha256');
	for (const path of paths.toSorted()) {
		for await (const chunk of createReadStream(path, {highWaterMark: 1 << 20})) hash.update(chunk as Uint8Array);
	}
	return hash.digest('hex');
}

const torn = (path: string, expected: number, found: number) =>
	new CutlayerError(
		'weights-invalid',
		`${path} should have at least ${expected} bytes but has ${found}: it is torn or its header lies; get it again`,
	);
