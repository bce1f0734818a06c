/**
Makes the xstate actor of a machine, for a host that runs it or a replay that feeds it. It says what enters the machine,
what it starts and when it has settled; it knows neither bus nor tensors.
*/
import {type Actor, type AnyActorLogic, type AnyStateMachine, createActor, type Snapshot} from 'xstate';
import {errorText} from '../../protocols/errors.ts';
import type {Outgoing} from '../../protocols/events.ts';
import type {Clock} from '../../protocols/ports.ts';

/** What an actor starts from: its input, or the snapshot of a former life. */
export type MachineStart = {readonly input: object} | {readonly snapshot: unknown};

export type MachineActorOptions = {
	readonly id: string;
	readonly machine: AnyStateMachine;
	readonly start: MachineStart;
	readonly clock: Pick<Clock, 'setTimeout' | 'clearTimeout'>;
	/** The logic of each pass the machine may start, by name. */
	readonly passes: Readonly<Record<string, AnyActorLogic>>;
	readonly send: (message: Outgoing) => void;
	/** An event is about to enter the machine; `timer` when it is that timer's firing. */
	readonly onInput: (event: {readonly type: string}, timer: number | undefined) => void;
	/** The machine has set a timer; timers are numbered from 0. */
	readonly onTimerSet: (timer: number, delayMs: number) => void;
	/** The machine has taken an event, its commands are out. */
	readonly onSettled: () => void;
	/** The machine is in a final state, or threw: then with the text. */
	readonly onDone: (thrown: string | undefined) => void;
};

/** The actor, not started. */
export function createMachineActor(options: MachineActorOptions): Actor<AnyStateMachine> {
	const {id, machine, start, passes} = options;
	const send = (_: unknown, message: unknown) => options.send(message as Outgoing);
	const provided = machine.provide({actors: passes, actions: {send}} as Parameters<AnyStateMachine['provide']>[0]);
	const timers = numberedTimers(options);
	const actor: Actor<AnyStateMachine> = createActor(provided, {
		id,
		clock: timers.clock,
		inspect: inspected => {
			// The start itself is no input: it follows from what the actor starts from.
			if (inspected.type !== '@xstate.event' || inspected.actorRef !== actor) return;
			if (inspected.event.type !== 'xstate.init') options.onInput(inspected.event, timers.firing());
		},
		...('snapshot' in start ? {snapshot: start.snapshot as Snapshot<unknown>} : {input: start.input}),
	});
	actor.subscribe({
		next: options.onSettled,
		// A stopped actor completes too.
		complete: () => actor.getSnapshot().status === 'done' && options.onDone(undefined),
		error: error => options.onDone(errorText(error)),
	});
	return actor;
}

/** A clock that numbers the timers and knows which of them is firing. */
function numberedTimers({clock, onTimerSet}: MachineActorOptions) {
	let next = 0;
	let firing: number | undefined;
	const setTimeout = (fire: () => void, delayMs: number) => {
		const timer = next++;
		onTimerSet(timer, delayMs);
		return clock.setTimeout(() => {
			firing = timer;
			try {
				fire();
			} finally {
				firing = undefined;
			}
		}, delayMs);
	};
	const clearTimeout = (id: number) => clock.clearTimeout(id);
	return {clock: {setTimeout, clearTimeout}, firing: () => firing};
}
