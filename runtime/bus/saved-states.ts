/**
Checkpoints of servers in a stream of the broker, in pieces of what it takes in one message. Where the newest lies is in the lease of
the server; what it lies after is dropped. The library's object store hashes in JavaScript: half a second for 6 MB.
*/
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import {type RunStreams, savedStreamOf, savedSubjectOf} from './run-streams.ts';

/** Where a checkpoint lies: the numbers of its pieces in the stream. */
export type SavedAt = {readonly pieces: readonly number[]};

const pieceBytesMax = 4 << 20;
const ackTimeoutMs = 10_000;

/** Resolves when the broker has all of it. */
export async function writeState({jetstream, bus, run}: RunStreams, id: string, bytes: Uint8Array): Promise<SavedAt> {
	const pieceBytes = Math.min(pieceBytesMax, bus.wireLimitBytes);
	const subject = savedSubjectOf(run, id);
	const pieces = Array.from({length: Math.ceil(bytes.byteLength / pieceBytes)}, (_, index) =>
		bytes.subarray(index * pieceBytes, (index + 1) * pieceBytes),
	);
	const acks = await Promise.all(pieces.map(piece => jetstream.publish(subject, piece, {timeout: ackTimeoutMs})));
	return {pieces: acks.map(({seq}) => seq)};
}

/** Drops what lies before a checkpoint. */
export async function dropStatesBefore({manager, run}: RunStreams, id: string, {pieces}: SavedAt): Promise<void> {
	await manager.streams.purge(savedStreamOf(run), {filter: savedSubjectOf(run, id), seq: Math.min(...pieces)});
}

/** What `parse` makes of the newest that is whole; `onProblem` hears why a newer one is not. Throws `checkpoint-unusable` when none is. */
export async function readState<T>(
	{manager, run}: RunStreams,
	saved: readonly SavedAt[],
	parse: (bytes: Uint8Array) => T,
	onProblem: (text: string) => void,
): Promise<T> {
	const problems: string[] = [];
	for (const {pieces} of saved) {
		try {
			const found = await Promise.all(pieces.map(seq => manager.streams.getMessage(savedStreamOf(run), {seq})));
			return parse(Buffer.concat(found.map(({data}) => data)));
		} catch (error) {
			problems.push(errorText(error));
			onProblem(
				`The newest checkpoint at the broker cannot be used (${errorText(error)}): the one before it is taken, and what came after that is not in it`,
			);
		}
	}
	throw new CutlayerError(
		'checkpoint-unusable',
		`No usable checkpoint of run ${run} at the broker (${problems.join('; ')}); start the run anew`,
	);
}
