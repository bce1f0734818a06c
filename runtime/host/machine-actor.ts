/**
Makes the xstate actor of a machine, for a host that runs it or a replay that feeds it. It says what enters the machine,
what it starts and when it has settled; it knows neither bus nor tensors.
*/
import {
	type AnyActorLogic,
	type AnyStateMachine,
	createActor,
	type EventObject,
	fromCallback,
	type InspectionEvent,
	type Snapshot,
} from 'xstate';
import {errorText} from '../../protocols/errors.ts';
import type {Outgoing, PassInput} from '../../protocols/events.ts';
import {type ChartTables, chartOf} from './chart.ts';
import {ChartActor} from './chart-actor.ts';
import type {MachineActor, MachineActorOptions} from './machine.ts';

/** The actor, not started. */
export function createMachineActor(options: MachineActorOptions): MachineActor {
	const timers = numberedTimers(options);
	const chart = options.isTabled ? chartOf(options.machine) : undefined;
	return chart ? tabledActor(options, chart, timers) : interpretedActor(options, timers);
}

function tabledActor(options: MachineActorOptions, chart: ChartTables, {clock, firing}: Timers): MachineActor {
	const {onInput} = options;
	const told = onInput && {onInput: (event: EventObject) => onInput(event, firing())};
	return new ChartActor({...options, clock, ...told}, chart);
}

function interpretedActor(options: MachineActorOptions, timers: Timers): MachineActor {
	const {id, machine, start, onInput} = options;
	const actor = createActor(sharedMachine(machine), {
		id,
		clock: timers.clock,
		...(onInput && {
			inspect: (inspected: InspectionEvent) => {
				// The start itself is no input: it follows from what the actor starts from.
				if (inspected.type !== '@xstate.event' || inspected.actorRef !== actor) return;
				if (inspected.event.type !== 'xstate.init') onInput(inspected.event, timers.firing());
			},
		}),
		...('snapshot' in start ? {snapshot: start.snapshot as Snapshot<unknown>} : {input: start.input}),
	});
	hosts.set(actor.system, options);
	actor.subscribe({
		next: options.onSettled,
		// A stopped actor completes too.
		complete: () => actor.getSnapshot().status === 'done' && options.onDone(undefined),
		error: error => options.onDone(errorText(error)),
	});
	return actor;
}

type Timers = ReturnType<typeof numberedTimers>;

/** Who runs an actor: each is the root of a system of its own. */
const hosts = new WeakMap<object, MachineActorOptions>();
const provided = new WeakMap<AnyStateMachine, AnyStateMachine>();

/**
The machine with its action and passes tied to whoever runs the actor. All actors of a role share it: a machine of its own for
each of ten thousand clients would be most of what a client weighs.
*/
function sharedMachine(machine: AnyStateMachine): AnyStateMachine {
	const known = provided.get(machine);
	if (known) return known;
	const names = Object.keys(machine.implementations.actors as object);
	const actors = Object.fromEntries(names.map(name => [name, passLogic(name)]));
	const send = ({system}: {system: object}, message: unknown) => hosts.get(system)!.send(message as Outgoing);
	const made = machine.provide({actors, actions: {send}} as unknown as Parameters<AnyStateMachine['provide']>[0]);
	provided.set(machine, made);
	return made;
}

const passLogic = (name: string): AnyActorLogic =>
	fromCallback<{type: string}, PassInput>(({input, sendBack, system}) => {
		return hosts.get(system)!.startPass(name, {input, sendBack});
	});

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
