/**
What packing and unpacking 1.2 MB of activations costs. The bar is on unpacking an aligned frame, which must be a view;
the copy of an unaligned frame and the look for NaN read every byte, so they are rows apart.
*/
import {decodeFrame, encodeFrame} from '../../protocols/codec.ts';
import {isFiniteTensor} from '../../protocols/finite.ts';
import type {Frame} from '../../protocols/ports.ts';
import {type Tensor, tensorOf} from '../../protocols/tensor.ts';
import {toWireFormat} from '../../protocols/wire-formats.ts';
import {activationsMessage, megabyteOfActivations} from '../_helpers/activations.ts';
import {medianOf} from '../_helpers/median.ts';
import type {Row} from './rows.ts';

const unpackBarUs = 30;
const repetitions = 2000;

/** The middle of the times of many calls, in microseconds. */
function medianUs(run: () => unknown, count = repetitions): number {
	for (let warmUp = 0; warmUp < 200; warmUp++) run();
	return medianOf(
		Array.from({length: count}, () => {
			const startMs = performance.now();
			run();
			return (performance.now() - startMs) * 1000;
		}),
	);
}

/** A copy of a frame whose tensors are not aligned in memory. */
function unaligned(frame: Frame): Frame {
	const memory = new Uint8Array(frame.body.length + 1);
	memory.set(frame.body, 1);
	return {...frame, body: memory.subarray(1)};
}

function checkView(frame: Frame): void {
	const decoded = decodeFrame(frame, {finiteOnly: false});
	if (!decoded.ok) throw new Error(`The benchmark's own frame was refused: ${decoded.problem.found}`);
	const {activations} = (decoded.body as {tensors: {activations: Tensor}}).tensors;
	if (activations.bytes.buffer !== frame.body.buffer) throw new Error('Decoding an aligned frame copied its tensor');
}

/** Rows in microseconds. */
export async function run(): Promise<Row[]> {
	const values = megabyteOfActivations();
	const aligned = encodeFrame(activationsMessage(0, values));
	const other = unaligned(aligned);
	checkView(aligned);
	const row = (name: string, measured: () => unknown, bar?: number): Row => {
		const value = medianUs(measured);
		return {name: `codec: ${name}`, value, unit: 'us', ...(bar !== undefined && {bar, holds: value <= bar})};
	};
	return [
		row('unpack 1.2 MB, a view', () => decodeFrame(aligned, {finiteOnly: false}), unpackBarUs),
		row('unpack 1.2 MB unaligned, one copy', () => decodeFrame(other, {finiteOnly: false})),
		row('unpack 1.2 MB and look for NaN', () => decodeFrame(aligned)),
		row('pack 1.2 MB', () => encodeFrame(activationsMessage(0, values))),
		row('look for NaN in 1.2 MB of f32', () => isFiniteTensor(values)),
		row('f32 to bf16, 1.2 MB', () => toWireFormat(values, 'bf16')),
		row('f32 to i8, 1.2 MB', () => toWireFormat(values, 'i8')),
		row('unpack a short message', shortMessage()),
	];
}

function shortMessage(): () => unknown {
	const lengths = tensorOf(Int32Array.of(1, 2, 3), [3]);
	const frame = encodeFrame({
		...activationsMessage(0, lengths),
		body: {round: 1, step: 2, reason: 'none', isIdle: false},
	});
	return () => decodeFrame(frame);
}
