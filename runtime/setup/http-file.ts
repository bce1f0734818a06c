/**
One file over HTTP: described by a HEAD request, downloaded with resumption, checked by size and hash before it gets its name.
*/
import {mkdir, open, rename, rm, stat} from 'node:fs/promises';
import path from 'node:path';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import {gitBlobIdOf, sha256Of} from './hash.ts';
import type {OnProgress} from './progress.ts';

export type RemoteFile = {
	readonly url: string;
	readonly sizeBytes: number;
	/** The etag without quotes: a SHA-256, a git blob id, or something that only tells versions apart. */
	readonly etag: string;
	/** The commit the server resolved the address to, when it says so. */
	readonly commit: string | undefined;
};

const attemptsMax = 4;
const redirectsMax = 5;
const answerTimeoutMs = 20_000;

/**
Size and hash of the file at `url`, read from every answer on the way through redirects, since a hub names them before it hands
over to its storage. Undefined when the server has no such file; throws `download-failed` otherwise.
*/
export async function describeRemote(url: string): Promise<RemoteFile | undefined> {
	let sizeBytes: number | undefined;
	let etag: string | undefined;
	let commit: string | undefined;
	for (let at = url, hop = 0; hop <= redirectsMax; hop++) {
		const answer = await head(at, new URL(at).origin === new URL(url).origin);
		if (answer.status === 404) return undefined;
		etag ??= answer.headers.get('x-linked-etag') ?? undefined;
		sizeBytes ??= numberIn(answer.headers.get('x-linked-size'));
		commit ??= answer.headers.get('x-repo-commit') ?? undefined;
		const next = answer.headers.get('location');
		if (answer.status >= 300 && answer.status < 400 && next) {
			at = new URL(next, at).href;
			continue;
		}
		if (!answer.ok) throw refused(url, answer.status);
		etag ??= answer.headers.get('etag') ?? '';
		sizeBytes ??= numberIn(answer.headers.get('content-length'));
		if (sizeBytes === undefined) throw new CutlayerError('download-failed', `${url} has no stated size`);
		return {url, sizeBytes, etag: etag.replace(/^W\/|"/g, ''), commit};
	}
	throw new CutlayerError('download-failed', `${url} was redirected more than ${redirectsMax} times`);
}

/**
Downloads to `target`, going on from `target.<etag>.part` when an earlier try left one.
Throws `download-failed` when the connection breaks for good or the content is not what was described.
*/
export async function downloadFile(file: RemoteFile, target: string, onProgress: OnProgress): Promise<void> {
	if (await sizeOfFile(target)) return;
	await mkdir(path.dirname(target), {recursive: true});
	const part = `${target}.${file.etag.replace(/\W/g, '').slice(0, 16)}.part`;
	for (let attempt = 1; (await sizeOfFile(part)) !== file.sizeBytes; attempt++) {
		try {
			await fetchRest(file, part, bytesDone =>
				onProgress({what: `Downloading ${path.basename(target)}`, bytesDone, bytesTotal: file.sizeBytes}),
			);
		} catch (error) {
			if (error instanceof CutlayerError || attempt === attemptsMax) throw broken(file.url, error);
		}
	}
	await verify(file, part);
	await rename(part, target);
}

async function fetchRest(file: RemoteFile, part: string, onBytes: (done: number) => void): Promise<void> {
	let done = (await sizeOfFile(part)) ?? 0;
	if (done > file.sizeBytes) await rm(part);
	if (done > file.sizeBytes) done = 0;
	const answer = await fetch(file.url, {headers: {...headers(true), ...(done > 0 ? {range: `bytes=${done}-`} : {})}});
	if (!answer.ok || !answer.body) throw refused(file.url, answer.status);
	if (answer.status !== 206) done = 0;
	const out = await open(part, done > 0 ? 'a' : 'w');
	try {
		// Each piece is on disk before the next is asked for, so that a break loses nothing that was reported.
		for await (const piece of answer.body) {
			done += piece.byteLength;
			if (done > file.sizeBytes) throw new Error('more bytes came than the file has');
			await out.writeFile(piece);
			onBytes(done);
		}
	} finally {
		await out.close();
	}
	if (done < file.sizeBytes) throw new Error(`the connection ended after ${done} of ${file.sizeBytes} bytes`);
}

async function verify(file: RemoteFile, part: string): Promise<void> {
	const found =
		file.etag.length === 64
			? await sha256Of(part)
			: file.etag.length === 40
				? await gitBlobIdOf(part, file.sizeBytes)
				: '';
	if (found === '' || found === file.etag) return;
	await rm(part);
	throw new CutlayerError(
		'download-failed',
		`Expected ${file.url} to have hash ${file.etag}, found ${found}: the download was damaged and deleted; run \`cutlayer setup\` again`,
	);
}

async function head(url: string, isOwnHost: boolean): Promise<Response> {
	try {
		const signal = AbortSignal.timeout(answerTimeoutMs);
		return await fetch(url, {method: 'HEAD', redirect: 'manual', headers: headers(isOwnHost), signal});
	} catch (error) {
		throw broken(url, error);
	}
}

/** The user's token goes to the hub only, never to the storage it redirects to. */
const headers = (isOwnHost: boolean): Record<string, string> => ({
	'accept-encoding': 'identity',
	...(isOwnHost && process.env.HF_TOKEN ? {authorization: `Bearer ${process.env.HF_TOKEN}`} : {}),
});

async function sizeOfFile(file: string): Promise<number | undefined> {
	return stat(file).then(
		({size}) => size,
		() => undefined,
	);
}

const numberIn = (text: string | null): number | undefined => (text === null ? undefined : Number(text));

function refused(url: string, status: number): CutlayerError {
	const fix = status === 401 || status === 403 ? 'set HF_TOKEN to a token that may read it' : 'try again later';
	return new CutlayerError('download-failed', `${url} was refused with status ${status}: ${fix}`);
}

function broken(url: string, error: unknown): CutlayerError {
	if (error instanceof CutlayerError) return error;
	const cause =
		error instanceof Error && error.cause ? `${error.message}, ${errorText(error.cause)}` : errorText(error);
	return new CutlayerError(
		'download-failed',
		`Could not download ${url} (${cause}): check the network, or name another hub with HF_ENDPOINT; a new try goes on where this one stopped`,
		{cause: error},
	);
}
