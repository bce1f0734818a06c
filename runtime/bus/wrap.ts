/**
A connection of which some calls do something else, the rest what they did.
*/
import type {Bus} from '../../protocols/ports.ts';

/** A connection that may change what passes through it. */
export const wrapBus = (bus: Bus, changes: Partial<Pick<Bus, 'publish' | 'subscribe' | 'flush'>>): Bus => ({
	get maxPayloadBytes() {
		return bus.maxPayloadBytes;
	},
	publish: changes.publish ?? (frame => bus.publish(frame)),
	subscribe: changes.subscribe ?? ((pattern, deliver) => bus.subscribe(pattern, deliver)),
	flush: changes.flush ?? (() => bus.flush()),
	close: () => bus.close(),
});
