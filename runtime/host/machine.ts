/**
A machine as a host runs it: what it is started from, what it asks for, and what can be asked of it. Types alone.
*/
import type {AnyStateMachine, EventObject} from 'xstate';
import type {Outgoing, PassInput} from '../../protocols/events.ts';
import type {Clock} from '../../protocols/ports.ts';

/** What an actor starts from: its input, or the snapshot of a former life. */
export type MachineStart = {readonly input: object} | {readonly snapshot: unknown};

/** A machine as it is now. */
export type MachineView = {
	readonly status: 'active' | 'done' | 'error' | 'stopped';
	readonly value: unknown;
	readonly context: object;
	hasTag(tag: string): boolean;
};

/** What a host needs of an actor. */
export type MachineActor = {
	start(): void;
	send(event: EventObject): void;
	stop(): void;
	getSnapshot(): MachineView;
	/** What an actor can be started from again. */
	getPersistedSnapshot(): unknown;
};

/** Starts a pass: gives its end back as an event through `sendBack`; what it returns is called when the state is left. */
export type PassStart = (given: {
	readonly input: PassInput;
	readonly sendBack: (event: {type: string}) => void;
}) => (() => void) | undefined;

export type MachineActorOptions = {
	readonly id: string;
	readonly machine: AnyStateMachine;
	readonly start: MachineStart;
	readonly clock: Pick<Clock, 'setTimeout' | 'clearTimeout'>;
	/** Runs the machine by tables, which is the same and cheaper, instead of in xstate's own actor; default false. */
	readonly isTabled?: boolean | undefined;
	/** Begins a pass of that name; throws when the host has none. */
	readonly startPass: (pass: string, given: Parameters<PassStart>[0]) => ReturnType<PassStart>;
	readonly send: (message: Outgoing) => void;
	/** An event is about to enter the machine; `timer` when it is that timer's firing. Left out, nobody is told. */
	readonly onInput?: (event: {readonly type: string}, timer: number | undefined) => void;
	/** The machine has set a timer; timers are numbered from 0. */
	readonly onTimerSet: (timer: number, delayMs: number) => void;
	/** The machine has taken an event, its commands are out. */
	readonly onSettled: () => void;
	/** The machine is in a final state, or threw: then with the text. */
	readonly onDone: (thrown: string | undefined) => void;
};
