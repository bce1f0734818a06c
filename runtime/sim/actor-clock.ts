/**
The clock of an actor in a time that fires events: its timers are events like any other, in its name.
*/
import type {Clock, TimerId} from '../../protocols/ports.ts';
import type {Cancel} from './event-queue.ts';
import type {SimTime} from './time.ts';

/** Its timers come in the actor's place among events of the same instant. */
export function actorClock(time: Pick<SimTime, 'nowMs' | 'at'>, actor: string): Clock {
	const timers = new Map<TimerId, Cancel>();
	let next = 1;
	return {
		now: () => time.nowMs,
		setTimeout: (fire, delayMs) => {
			const id = next++;
			const cancel = time.at(time.nowMs + delayMs, actor, () => {
				timers.delete(id);
				fire();
			});
			timers.set(id, cancel);
			return id;
		},
		clearTimeout: id => {
			timers.get(id)?.();
			timers.delete(id);
		},
	};
}
