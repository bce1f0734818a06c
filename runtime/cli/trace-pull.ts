/**
`cutlayer trace pull`: writes the trace that a run published, as it was written where the run is.
*/
import {type FileHandle, mkdir, open, readdir} from 'node:fs/promises';
import {join, resolve} from 'node:path';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import {partOf, type TracePart} from '../../protocols/trace-parts.ts';
import {connectNats} from '../bus/nats.ts';
import {readTraceStream} from '../bus/trace-stream.ts';
import {readCreds} from './broker-access.ts';

export type PullFlags = {
	readonly nats: string;
	readonly creds?: string;
	readonly run: string;
	readonly out?: string;
	readonly now: boolean;
	readonly json: boolean;
};

/** A file as far as it is there; `gap` says where pieces are missing: what comes after them is left out. */
type Pulled = {readonly handle: FileHandle; bytes: number; isEnded: boolean; gap?: string};

/** Exits 0 when all that was published is written, 1 when pieces are missing. Throws what the broker and the disk throw. */
export async function pull({nats, creds, run, out = join('runs', run), now, json}: PullFlags): Promise<void> {
	const folder = join(resolve(out), 'trace');
	const given = creds === undefined ? undefined : await readCreds(creds);
	const bus = await connectNats({url: nats, name: 'pull', creds: given});
	const files = new Map<string, Pulled>();
	try {
		for await (const kept of readTraceStream(bus, run)) {
			const part = kept && partOf(kept.frame);
			if (part) await take(files, folder, part);
			const isWhole = files.size > 0 && [...files.values()].every(({isEnded}) => isEnded);
			if ((kept?.pending ?? 0) === 0 && (now || isWhole)) break;
		}
	} finally {
		for (const {handle} of files.values()) await handle.close();
		await bus.close();
	}
	const found = [...files].map(([name, {bytes, isEnded, gap}]) => ({name, bytes, isEnded, gap: gap ?? null}));
	process.exitCode = found.some(({gap}) => gap !== null) ? 1 : 0;
	process.stdout.write(json ? `${JSON.stringify({folder, files: found})}\n` : textOf(folder, found));
}

async function take(files: Map<string, Pulled>, folder: string, {file, at, bytes, isEnd}: TracePart): Promise<void> {
	const pulled = files.get(file) ?? (await create(folder, file));
	files.set(file, pulled);
	pulled.isEnded = isEnd;
	if (pulled.gap !== undefined) return;
	if (at > pulled.bytes) {
		pulled.gap = `bytes ${pulled.bytes} to ${at - 1} were not published: the broker was slower than the run`;
		return;
	}
	// A disk that was full there took the end of the trace back.
	if (at < pulled.bytes) await pulled.handle.truncate(at);
	await pulled.handle.write(bytes, 0, bytes.byteLength, at);
	pulled.bytes = at + bytes.byteLength;
}

async function create(folder: string, file: string): Promise<Pulled> {
	try {
		await mkdir(folder, {recursive: true});
		if ((await readdir(folder)).includes(file))
			throw new CutlayerError('usage', `${folder} already holds ${file}; give another --out`);
		return {handle: await open(join(folder, file), 'wx'), bytes: 0, isEnded: false};
	} catch (error) {
		if (error instanceof CutlayerError) throw error;
		throw new CutlayerError('disk', `Cannot write the trace to ${folder}: ${errorText(error)}; give another --out`, {
			cause: error,
		});
	}
}

function textOf(
	folder: string,
	files: readonly {name: string; bytes: number; isEnded: boolean; gap: string | null}[],
): string {
	if (files.length === 0) return 'nothing was published yet\n';
	const lines = files.map(
		({name, bytes, isEnded, gap}) =>
			`${join(folder, name)}  ${bytes} bytes${gap === null ? (isEnded ? '' : ', the run goes on') : `, then ${gap}`}`,
	);
	return `${lines.join('\n')}\n`;
}
