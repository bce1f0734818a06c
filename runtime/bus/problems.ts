/**
How a bus tells its owner about trouble that no caller is waiting for.
*/
import {CutlayerError} from '../../protocols/errors.ts';
import type {Frame} from '../../protocols/ports.ts';

/** Takes trouble that is nobody's return value: an exception of a subscriber, a refused permission, a lost frame. */
export type BusProblem = (problem: CutlayerError) => void;

/** The default: one line to stderr. */
export const reportTo =
	(bus: string): BusProblem =>
	problem => {
		process.stderr.write(`${bus}: ${problem.message}\n`);
	};

/** Calls a subscriber; what it throws is reported with its pattern, so that no frame can end the bus. */
export function deliverSafely(
	pattern: string,
	deliver: (frame: Frame) => void,
	frame: Frame,
	onProblem: BusProblem,
): void {
	try {
		deliver(frame);
	} catch (thrown) {
		const text = thrown instanceof Error ? thrown.message : String(thrown);
		onProblem(
			new CutlayerError('run-failed', `A subscriber of ${pattern} threw on ${frame.subject}: ${text}`, {cause: thrown}),
		);
	}
}

/** The error of a frame that is over the limit. */
export const frameTooLarge = ({subject}: Frame, bytes: number, bytesMax: number): CutlayerError =>
	new CutlayerError(
		'broker-limit',
		`Expected a frame of at most ${bytesMax} bytes for ${subject}, found ${bytes}; raise max_payload of the broker or send smaller batches`,
	);
