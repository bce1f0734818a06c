/**
The connections of a part of a run: its recorder hears what the part's own actors report as it is sent, and asks the broker for
nothing. A client may hear neither the others nor itself there.
*/
import type {Bus, Frame} from '../../protocols/ports.ts';
import {subjectMatches} from '../../protocols/subjects.ts';
import {wrapBus} from '../bus/wrap.ts';

type Connect = (name: string) => Promise<Bus>;

/** `actor` opens the connection of an actor, `recorder` that of the recorder. */
export function ownReports(connect: Connect): {readonly actor: Connect; readonly recorder: Connect} {
	const hearers = new Set<(frame: Frame) => void>();
	return {
		actor: async name => {
			const bus = await connect(name);
			return wrapBus(bus, {
				publish(frame) {
					bus.publish(frame);
					for (const hear of hearers) hear(frame);
				},
			});
		},
		recorder: async name => {
			const bus = await connect(name);
			return wrapBus(bus, {
				// What it hears has never left this process.
				flush: () => Promise.resolve(),
				subscribe(pattern, deliver) {
					const hear = (frame: Frame) => {
						if (subjectMatches(pattern, frame.subject)) deliver(frame);
					};
					hearers.add(hear);
					return () => void hearers.delete(hear);
				},
			});
		},
	};
}
