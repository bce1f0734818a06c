/**
A run at a quiet instant, on disk: every actor's snapshot and arithmetic. Written whole or not at all; the last of them are kept.
*/
import {createHash} from 'node:crypto';
import {mkdir, readdir, readFile, rename, rm} from 'node:fs/promises';
import {join} from 'node:path';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import type {PassResult} from '../../protocols/ports.ts';
import {byteLengthOf, type NamedTensors, type Tensor} from '../../protocols/tensor.ts';
import type {SavedActor} from '../host/actor-host.ts';
import {readSafetensors, writeSafetensors} from '../weights/safetensors.ts';
import {replaceJson} from './folder.ts';

/** One actor: the host's half and the arithmetic's. */
export type ActorCheckpoint = {readonly host: SavedActor; readonly compute: PassResult};

export type RunCheckpoint = {
	readonly clockMs: number;
	/** Rows of `metrics.jsonl` that belong to it. */
	readonly metricsRows: number;
	readonly actors: Readonly<Record<string, ActorCheckpoint>>;
};

type StoredActor = {
	readonly snapshot: unknown;
	readonly sequence: number;
	readonly nextHandle: number;
	readonly handles: readonly string[];
	readonly compute: unknown;
};
type Stored = {
	readonly version: 1;
	readonly clockMs: number;
	readonly metricsRows: number;
	readonly tensorsSha256: string;
	/** Shapes of tensors in the `i8` format, whose bytes lie in the file as i32. */
	readonly rows: Readonly<Record<string, readonly number[]>>;
	readonly actors: Readonly<Record<string, StoredActor>>;
};

const separator = '|';
const nameOf = (number: number) => String(number).padStart(8, '0');

/** Writes the next checkpoint of `folder` and drops all but the newest `kept`, none for 0. Throws `disk`; the older ones stay. */
export async function writeCheckpoint(folder: string, checkpoint: RunCheckpoint, kept = 2): Promise<string> {
	const names = await checkpointNames(folder);
	const target = join(folder, nameOf(Number(names.at(-1) ?? -1) + 1));
	const temporary = `${target}.tmp`;
	try {
		await rm(temporary, {recursive: true, force: true});
		await mkdir(temporary, {recursive: true});
		const tensors = tensorsOf(checkpoint);
		const packed = Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, packRows(tensor)]));
		await writeSafetensors(join(temporary, 'tensors.safetensors'), packed);
		const tensorsSha256 = await sha256(join(temporary, 'tensors.safetensors'));
		await replaceJson(join(temporary, 'actors.json'), storedOf(checkpoint, tensorsSha256, rowsOf(tensors)));
		await rename(temporary, target);
	} catch (error) {
		// Where nothing can be written nothing may be removable either: the first failure is the one to tell.
		await rm(temporary, {recursive: true, force: true}).catch(() => undefined);
		if (error instanceof CutlayerError) throw error;
		throw new CutlayerError('disk', `Cannot write a checkpoint to ${folder}: ${errorText(error)}; free some space`, {
			cause: error,
		});
	}
	for (const old of kept === 0 ? [] : names.slice(0, Math.max(0, names.length + 1 - kept)))
		await rm(join(folder, old), {recursive: true, force: true});
	return target;
}

/** The newest whole checkpoint of a folder. Throws `checkpoint-unusable` when there is none. */
export async function readCheckpoint(folder: string): Promise<RunCheckpoint> {
	const problems: string[] = [];
	for (const name of (await checkpointNames(folder)).toReversed()) {
		try {
			return await readOne(join(folder, name));
		} catch (error) {
			problems.push(`${name}: ${errorText(error)}`);
		}
	}
	throw unusable(folder, problems.length > 0 ? problems.join('; ') : 'none was written');
}

/** A checkpoint's folder, and when it was written. */
export type CheckpointAt = {readonly path: string; readonly clockMs: number; readonly metricsRows: number};

/** Those of a folder, the oldest first; what cannot be read is left out. */
export async function listCheckpoints(folder: string): Promise<CheckpointAt[]> {
	const found: CheckpointAt[] = [];
	for (const name of await checkpointNames(folder)) {
		const text = await readFile(join(folder, name, 'actors.json'), 'utf8').catch(() => '');
		const stored = /^\s*\{/.test(text) ? (JSON.parse(text) as Partial<Stored>) : {};
		const {clockMs, metricsRows} = stored;
		if (clockMs !== undefined && metricsRows !== undefined)
			found.push({path: join(folder, name), clockMs, metricsRows});
	}
	return found;
}

/** Throws `checkpoint-unusable` when a folder has no checkpoint, whole or not. */
export async function checkHasCheckpoint(folder: string): Promise<void> {
	if ((await checkpointNames(folder)).length === 0) throw unusable(folder, 'none was written');
}

const unusable = (folder: string, why: string) =>
	new CutlayerError('checkpoint-unusable', `No usable checkpoint in ${folder} (${why}); start the run anew`);

async function checkpointNames(folder: string): Promise<string[]> {
	const names = await readdir(folder).catch(() => []);
	return names.filter(name => /^\d{8}$/.test(name)).sort();
}

const sha256 = async (path: string) =>
	createHash('sha256')
		.update(await readFile(path))
		.digest('hex');

function tensorsOf({actors}: RunCheckpoint): NamedTensors {
	const tensors: Record<string, NamedTensors[string]> = {};
	for (const [id, {host, compute}] of Object.entries(actors)) {
		for (const [name, tensor] of Object.entries(compute.tensors))
			tensors[[id, 'compute', name].join(separator)] = tensor;
		for (const [handle, named] of host.tensors) {
			for (const [name, tensor] of Object.entries(named)) tensors[[id, 'host', handle, name].join(separator)] = tensor;
		}
	}
	return tensors;
}

const storedOf = (
	{clockMs, metricsRows, actors}: RunCheckpoint,
	tensorsSha256: string,
	rows: Stored['rows'],
): Stored => ({
	rows,
	version: 1,
	clockMs,
	metricsRows,
	tensorsSha256,
	actors: Object.fromEntries(
		Object.entries(actors).map(([id, {host, compute}]) => {
			const {snapshot, sequence, nextHandle} = host;
			return [
				id,
				{snapshot, sequence, nextHandle, handles: host.tensors.map(([handle]) => handle), compute: compute.output},
			];
		}),
	),
});

const rowsOf = (tensors: NamedTensors): Stored['rows'] =>
	Object.fromEntries(
		Object.entries(tensors).flatMap(([name, {dtype, shape}]) => (dtype === 'i8' ? [[name, shape]] : [])),
	);

/** A safetensors file has no format for rows with a scale each: their bytes are kept as they are. */
function packRows(tensor: Tensor): Tensor {
	if (tensor.dtype !== 'i8') return tensor;
	const bytes = new Uint8Array(Math.ceil(tensor.bytes.byteLength / 4) * 4);
	bytes.set(tensor.bytes);
	return {dtype: 'i32', shape: [bytes.byteLength / 4], bytes};
}

const unpackRows = (tensor: Tensor, shape: readonly number[] | undefined): Tensor =>
	shape ? {dtype: 'i8', shape, bytes: tensor.bytes.subarray(0, byteLengthOf('i8', shape))} : tensor;

async function readOne(folder: string): Promise<RunCheckpoint> {
	const stored = JSON.parse(await readFile(join(folder, 'actors.json'), 'utf8')) as Stored;
	if (stored.version !== 1) throw new Error(`version ${stored.version}, expected 1`);
	const path = join(folder, 'tensors.safetensors');
	if ((await sha256(path)) !== stored.tensorsSha256) throw new Error('its tensors do not match their checksum');
	const {tensors} = await readSafetensors(path);
	const whole = Object.fromEntries(
		Object.entries(tensors).map(([name, tensor]) => [name, unpackRows(tensor, stored.rows[name])]),
	);
	const actors = Object.entries(stored.actors).map(([id, actor]) => [id, actorOf(id, actor, whole)] as const);
	return {clockMs: stored.clockMs, metricsRows: stored.metricsRows, actors: Object.fromEntries(actors)};
}

function actorOf(
	id: string,
	{snapshot, sequence, nextHandle, handles, compute}: StoredActor,
	all: NamedTensors,
): ActorCheckpoint {
	const under = (...path: string[]): NamedTensors => {
		const prefix = `${[id, ...path].join(separator)}${separator}`;
		const own = Object.entries(all).filter(([name]) => name.startsWith(prefix));
		return Object.fromEntries(own.map(([name, tensor]) => [name.slice(prefix.length), tensor]));
	};
	const tensors = handles.map(handle => [handle, under('host', handle)] as const);
	return {
		host: {snapshot, sequence, nextHandle, tensors},
		compute: {output: compute, tensors: under('compute')},
	};
}
