/**
The end of a run, said until everybody has heard it: a connection that repeats its fed server's `run-finished` as long as it
stays open. The machine has ended by then, and a receiver that heard it before takes no notice.
*/
import type {Bus, Clock, Frame, TimerId} from '../../protocols/ports.ts';

const isEnd = ({subject}: Frame) => subject.endsWith('.run-finished');

/** Repeats the last `run-finished` every `everyMs` milliseconds of the clock, until it is closed. */
export function lastWords(bus: Bus, clock: Clock, everyMs: number): Bus {
	let timer: TimerId | undefined;
	const repeat = (frame: Frame) => {
		timer = clock.setTimeout(() => {
			bus.publish(frame);
			repeat(frame);
		}, everyMs);
	};
	return {
		get maxPayloadBytes() {
			return bus.maxPayloadBytes;
		},
		publish(frame) {
			bus.publish(frame);
			if (isEnd(frame) && timer === undefined) repeat(frame);
		},
		subscribe: (pattern, deliver) => bus.subscribe(pattern, deliver),
		flush: () => bus.flush(),
		close() {
			if (timer !== undefined) clock.clearTimeout(timer);
			return bus.close();
		},
	};
}
