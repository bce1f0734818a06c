/**
The state of a durable actor as bytes and back: JSON, tensors behind it, a checksum before both. It knows no disk and no broker.
*/
import {createHash} from 'node:crypto';
import type {PassResult} from '../../protocols/ports.ts';
import type {NamedTensors, Tensor} from '../../protocols/tensor.ts';
import type {SavedActor} from '../host/actor-host.ts';

/** Everything an actor goes on from. */
export type ActorState = {
	/** Its life. */
	readonly incarnation: number;
	/** How far it has read the run's messages. */
	readonly position: number;
	/** Time of the run, ms. */
	readonly clockMs: number;
	readonly host: SavedActor;
	readonly compute: PassResult;
};

type StoredTensor = readonly [name: string, dtype: Tensor['dtype'], shape: readonly number[], length: number];
type Header = Omit<ActorState, 'host' | 'compute'> & {
	readonly host: Omit<SavedActor, 'tensors'>;
	readonly computed: unknown;
	readonly handles: readonly (readonly [handle: string, tensors: readonly StoredTensor[]])[];
	readonly compute: readonly StoredTensor[];
};

const magic = Buffer.from('cutlayr1');
const headerStart = magic.length + 32 + 4;

export function bytesOfState({host, compute, ...rest}: ActorState): Uint8Array {
	const {tensors, ...machine} = host;
	const header: Header = {
		...rest,
		host: machine,
		computed: compute.output,
		handles: tensors.map(([handle, named]) => [handle, storedOf(named)]),
		compute: storedOf(compute.tensors),
	};
	const text = Buffer.from(JSON.stringify(header));
	const length = Buffer.alloc(4);
	length.writeUInt32LE(text.length);
	const bodies = [...tensors.map(([, named]) => named), compute.tensors].flatMap(named =>
		Object.values(named).map(({bytes}) => bytes),
	);
	const hash = createHash('sha256').update(length).update(text);
	for (const bytes of bodies) hash.update(bytes);
	return Buffer.concat([magic, hash.digest(), length, text, ...bodies]);
}

/** Throws a plain error that says what is wrong with the bytes. */
export function stateOfBytes(bytes: Uint8Array): ActorState {
	const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	if (all.length < headerStart || !all.subarray(0, magic.length).equals(magic)) throw new Error('it is no checkpoint');
	const digest = all.subarray(magic.length, magic.length + 32);
	const content = all.subarray(magic.length + 32);
	if (!createHash('sha256').update(content).digest().equals(digest))
		throw new Error('it does not match its checksum, it is torn or damaged');
	const end = 4 + content.readUInt32LE(0);
	const {host, computed, handles, compute, ...rest} = JSON.parse(content.toString('utf8', 4, end)) as Header;
	let at = end;
	const take = (stored: readonly StoredTensor[]): NamedTensors =>
		Object.fromEntries(
			stored.map(([name, dtype, shape, length]) => {
				const start = at;
				at += length;
				// A copy of its own is aligned.
				return [name, {dtype, shape, bytes: Uint8Array.from(content.subarray(start, at))}];
			}),
		);
	const tensors = handles.map(([handle, stored]) => [handle, take(stored)] as const);
	return {...rest, host: {...host, tensors}, compute: {output: computed, tensors: take(compute)}};
}

const storedOf = (named: NamedTensors): StoredTensor[] =>
	Object.entries(named).map(([name, {dtype, shape, bytes}]) => [name, dtype, shape, bytes.byteLength]);
