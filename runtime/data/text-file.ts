/**
Reads a text file whole and refuses what is not UTF-8, naming the place.
*/
import {isUtf8} from 'node:buffer';
import {readFile} from 'node:fs/promises';
import {CutlayerError, fileErrorText} from '../../protocols/errors.ts';

/** The text without a byte order mark. Throws `data-invalid` when it cannot be read, is empty or is not UTF-8. */
export async function readTextFile(path: string): Promise<string> {
	const bytes = await readFile(path).catch(error => {
		throw new CutlayerError('data-invalid', `Cannot read ${path}: ${fileErrorText(error)}`, {cause: error});
	});
	if (!isUtf8(bytes)) {
		throw new CutlayerError(
			'data-invalid',
			`${path} is not UTF-8: the bytes at offset ${invalidOffset(bytes)} are no character; save the file as UTF-8`,
		);
	}
	const text = new TextDecoder().decode(bytes);
	if (text.trim() !== '') return text;
	throw new CutlayerError('data-invalid', `${path} is empty; expected at least one row; name a file with rows`);
}

const replacement = '\ufffd';

/** The offset of the first byte that begins no character: where decoding put a replacement that the file does not hold. */
function invalidOffset(bytes: Buffer): number {
	const text = new TextDecoder('utf-8', {ignoreBOM: true}).decode(bytes);
	let offset = 0;
	let from = 0;
	for (;;) {
		const at = text.indexOf(replacement, from);
		offset += Buffer.byteLength(text.slice(from, at));
		if (bytes.toString('latin1', offset, offset + 3) !== '\xef\xbf\xbd') return offset;
		offset += 3;
		from = at + 1;
	}
}
