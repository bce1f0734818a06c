/**
A bus on which frames may be longer than the broker allows: they are cut on the way out and joined on the way in.
It knows no broker; the limit is asked for at every frame, since a reconnect may change it.
*/
import {createReassembler, defaultReassemblyLimits, type ReassemblyLimits, splitFrame} from '../../protocols/chunks.ts';
import {type FrameProblem, problemText} from '../../protocols/envelope.ts';
import {CutlayerError} from '../../protocols/errors.ts';
import type {Bus, Frame} from '../../protocols/ports.ts';
import {type BusProblem, deliverSafely, frameTooLarge, reportTo} from './problems.ts';

/** Options of a chunked bus. */
export type ChunkedOptions = Partial<ReassemblyLimits> & {
	/** Called for frames that could not be joined; default: a line to stderr. */
	readonly onProblem?: BusProblem;
	/** Milliseconds on any steady clock; default the wall clock's. */
	readonly now?: () => number;
};

/** Wraps a bus. Its `maxPayloadBytes` is then the longest whole frame. */
export function chunked(bus: Bus, options: ChunkedOptions = {}): Bus {
	const {onProblem = reportTo('the bus'), now = () => performance.now(), ...given} = options;
	const limits = {...defaultReassemblyLimits, ...given};
	const report = (problem: FrameProblem, {subject}: Frame) =>
		onProblem(new CutlayerError('frame-invalid', `${problemText(problem)} (at ${subject})`));
	return {
		maxPayloadBytes: limits.frameBytesMax,
		publish(frame) {
			if (frame.body.byteLength > limits.frameBytesMax)
				throw frameTooLarge(frame, frame.body.byteLength, limits.frameBytesMax);
			for (const part of splitFrame(frame, bus.maxPayloadBytes)) bus.publish(part);
		},
		subscribe(pattern, deliver) {
			// One reassembler a subscription: overlapping patterns each get every chunk.
			const reassembler = createReassembler(limits);
			return bus.subscribe(pattern, part => {
				for (const problem of reassembler.expire(now())) report(problem, part);
				const {frame, problem} = reassembler.accept(part, now());
				if (problem) report(problem, part);
				if (frame) deliverSafely(pattern, deliver, frame, onProblem);
			});
		},
		flush: () => bus.flush(),
		close: () => bus.close(),
	};
}
