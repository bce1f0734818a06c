/**
What makes one actor of a run durable: the bus that keeps its messages, the checkpoint it goes on from, and where the next ones go.
Servers keep theirs at the broker under a lease, so that a standby can take over; clients on their own disk, which is private.
*/
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {CutlayerError} from '../../protocols/errors.ts';
import type {PassResult} from '../../protocols/ports.ts';
import {type DurableBus, openDurableBus} from '../bus/durable.ts';
import {Deposed, Lease} from '../bus/lease.ts';
import type {NatsBus} from '../bus/nats.ts';
import {openRunStreams, type RunStreams} from '../bus/run-streams.ts';
import {dropStatesBefore, readState, writeState} from '../bus/saved-states.ts';
import {type ActorState, bytesOfState, stateOfBytes} from '../durable/state-bytes.ts';
import type {SavedActor} from '../host/actor-host.ts';
import {CheckpointFiles} from './checkpoint-files.ts';
import {runFiles} from './folder.ts';
import type {ActorRole} from './running-actor.ts';

/** A server that says nothing for so long is taken over, ms. */
export const defaultLeaseMs = 5000;

export type DurabilityOptions = ActorRole & {
	readonly run: string;
	/** Of the run, where a client keeps its checkpoints. */
	readonly folder: string;
	readonly leaseMs: number;
	readonly connect: (name: string) => Promise<NatsBus>;
	readonly onNotice: (text: string) => void;
	/** Another acts in its place. */
	readonly onLost: (reason: string) => void;
	/** Ends the wait for the lease. */
	readonly signal?: AbortSignal | undefined;
};

export interface Durability {
	readonly bus: DurableBus;
	/** The state of the life before. */
	readonly saved: ActorState | undefined;
	/** Its life, from 0. */
	readonly incarnation: number;
	/** Makes the state of this moment durable. Rejects when another acts in its place, or when it is closed. */
	write(state: {readonly host: SavedActor; readonly compute: PassResult; readonly clockMs: number}): Promise<void>;
	/** Leaves as a process that is killed does: nothing is given back. */
	abandon(): Promise<void>;
	/** Leaves the bus. `isOver`: there is nothing to go on with. */
	close(options: {readonly isOver: boolean}): Promise<void>;
}

/** What makes the training actors of a process durable; who only watches keeps nothing. */
export const durableActors =
	(options: Pick<DurabilityOptions, 'connect' | 'leaseMs' | 'onNotice' | 'signal'>) =>
	async ({kind, id, run, folder}: ActorRole & {run: string; folder: string}, onLost: (reason: string) => void) => {
		if (kind === 'evaluator') return undefined;
		const durable = await openDurability({...options, kind, id, run, folder, onLost});
		if (!durable)
			throw new CutlayerError('run-failed', `The ${id} server of run ${run} has ended: nothing is left to do`);
		return durable;
	};

/** Where states go. */
type Keeper = {
	readonly saved: ActorState | undefined;
	readonly incarnation: number;
	write(bytes: Uint8Array): Promise<void>;
	abandon(): void;
	close(isOver: boolean): Promise<void>;
};

const retryMs = 500;

/** Opens it; nothing when the wait for a lease was ended, or there is nothing left to act for. Throws `broker-limit` without JetStream. */
export async function openDurability(options: DurabilityOptions): Promise<Durability | undefined> {
	const bus = await options.connect(options.id);
	try {
		const streams = await openRunStreams(bus, options.run);
		const keeper = options.kind === 'client' ? await onDisk(options) : await atBroker(streams, options);
		if (!keeper) await bus.close();
		return keeper && durability(streams, keeper, options);
	} catch (error) {
		await bus.close();
		throw error;
	}
}

function durability(streams: RunStreams, keeper: Keeper, {id, onNotice}: DurabilityOptions): Durability {
	const {saved, incarnation} = keeper;
	const bus = openDurableBus({
		streams,
		id,
		position: saved?.position ?? 0,
		onProblem: problem => onNotice(`${id}: ${problem.message}`),
	});
	let isClosed = false;
	const write: Durability['write'] = async state => {
		const {position} = bus;
		const bytes = bytesOfState({...state, position, incarnation});
		for (let attempt = 0; ; attempt++) {
			if (isClosed) throw new Error('the actor was closed');
			try {
				await keeper.write(bytes);
				break;
			} catch (error) {
				if (error instanceof Deposed) throw error;
				if (attempt === 0 && error instanceof CutlayerError)
					onNotice(`${id}: ${error.message}; it answers nothing until its checkpoint can be written`);
				await sleep(retryMs);
			}
		}
		await bus.forget(position).catch(() => undefined);
	};
	const close = async ({isOver}: {readonly isOver: boolean}) => {
		isClosed = true;
		await keeper.close(isOver);
		await bus.close();
	};
	const abandon = () => {
		isClosed = true;
		keeper.abandon();
		return streams.bus.connection.close();
	};
	return {bus, saved, incarnation, write, abandon, close};
}

async function onDisk({folder, id, onNotice}: DurabilityOptions): Promise<Keeper> {
	const files = new CheckpointFiles(join(folder, runFiles.states, id));
	const saved = await files.read(stateOfBytes, onNotice);
	return {
		saved,
		incarnation: saved ? saved.incarnation + 1 : 0,
		write: bytes => files.write(bytes),
		abandon: () => undefined,
		close: () => Promise.resolve(),
	};
}

async function atBroker(streams: RunStreams, options: DurabilityOptions): Promise<Keeper | undefined> {
	const {id, leaseMs, onNotice, onLost, signal, run} = options;
	const onWaiting = (holder: string) =>
		onNotice(`The ${id} server of run ${run} is ${holder}: this one takes over when its lease ends`);
	const lease = await Lease.take({streams, id, leaseMs, onWaiting, onLost, signal});
	if (!lease) return undefined;
	const before = lease.saved;
	const saved = before.length > 0 ? await readState(streams, before, stateOfBytes, onNotice) : undefined;
	let [previous] = before;
	return {
		saved,
		incarnation: lease.epoch,
		async write(bytes) {
			const at = await writeState(streams, id, bytes);
			await lease.commit(at);
			if (previous) void dropStatesBefore(streams, id, previous).catch(() => undefined);
			previous = at;
		},
		abandon: () => lease.abandon(),
		close: isOver => lease.release({isOver}),
	};
}
