/**
SHA-256 of files, read in pieces so that weights of any size fit.
*/
import {createHash} from 'node:crypto';
import {createReadStream} from 'node:fs';
import {pipeline} from 'node:stream/promises';

/** The SHA-256 of a file, hex. */
export async function sha256Of(file: string): Promise<string> {
	const hash = createHash('sha256');
	await pipeline(createReadStream(file, {highWaterMark: 1 << 20}), hash);
	return hash.digest('hex');
}

/** Git's object id of a file as a blob, hex: how a model hub names its small files. */
export async function gitBlobIdOf(file: string, sizeBytes: number): Promise<string> {
	const hash = createHash('sha1').update(`blob ${sizeBytes}\0`);
	await pipeline(createReadStream(file), hash);
	return hash.digest('hex');
}
