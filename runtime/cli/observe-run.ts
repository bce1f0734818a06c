/**
What happens in a run, as an observer sees it: a line an event, or JSON. It takes no part in training.
*/
import {decodeFrame} from '../../protocols/codec.ts';
import type {Frame} from '../../protocols/ports.ts';
import {patternsFor} from '../../protocols/subjects.ts';
import {findRun, openAccess} from './broker-access.ts';
import type {AttachFlags} from './guest-flags.ts';
import {type ObservedEvent, observedLine} from './observed-line.ts';
import {untilOver} from './until-over.ts';

/** Prints until the run is over, which ends with exit code 0, or Ctrl-C, which ends with 130. Throws `usage` or `run-failed`. */
export async function observeRun(flags: AttachFlags): Promise<void> {
	const access = await openAccess(flags, 'observer', flags.id);
	const {bus, speaker} = access;
	try {
		const {run, ageMs} = await findRun(access, flags.run);
		const beganMs = performance.now() - ageMs;
		process.stderr.write(`Observing run ${run} at ${bus.url}; Ctrl-C to leave\n`);
		for (const pattern of patternsFor('observer', run, speaker.id))
			bus.subscribe(pattern, frame => {
				const event = eventOf(frame, performance.now() - beganMs);
				if (!event) return;
				const line = flags.json ? JSON.stringify(event) : observedLine(event);
				if (line !== undefined) process.stdout.write(`${line}\n`);
			});
		await untilOver(access, run, flags.brokerLeaseMs);
	} finally {
		await bus.close();
	}
}

/** A frame as an event, without its tensors. */
function eventOf(frame: Frame, timeMs: number): ObservedEvent | undefined {
	const decoded = decodeFrame(frame);
	if (!decoded.ok) return undefined;
	const {subject, bytes} = decoded.envelope;
	const {kind, id, verb, to} = subject;
	const {tensors: _, ...body} = decoded.body as {tensors?: unknown; [field: string]: unknown};
	return {timeMs: Math.round(timeMs), kind, id, verb, ...(to !== undefined && {to}), bytes, body};
}
