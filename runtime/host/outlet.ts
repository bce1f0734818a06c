/**
Where an actor's messages wait until they may leave. Only types.
*/
import type {Outgoing} from '../../protocols/events.ts';
import type {Frame, PassResult} from '../../protocols/ports.ts';

/** A message with its identity; its tensors are handles, so that a checkpoint holds them once. */
export type HeldMessage = {
	readonly message: Outgoing;
	readonly messageId: string;
	readonly sequence: number;
	readonly causationId?: string;
};

export interface Outlet {
	/** What waits, the oldest first. */
	readonly held: readonly HeldMessage[];
	/** Keeps a message, and the frame that leaves in the end. */
	hold(message: HeldMessage, frame: Frame): void;
	/** A pass has ended, and its event is about to enter the machine. */
	passed(result: PassResult): void;
	/** The machine has taken an event: what it said is held, and its state is whole. */
	settled(): void;
}
