/**
One actor of a trace, fed with its recorded inputs: what it does now is compared with what it did then.
It needs neither model nor broker nor weights, because a machine sees handles only.
*/
import type {AnyStateMachine} from 'xstate';
import {clientMachine} from '../../actors/client.ts';
import {evaluatorMachine} from '../../actors/evaluator.ts';
import {fedServerMachine} from '../../actors/fed-server.ts';
import {mainServerMachine} from '../../actors/main-server.ts';
import {CutlayerError} from '../../protocols/errors.ts';
import type {MachineStart} from '../host/machine.ts';
import {createMachineActor} from '../host/machine-actor.ts';
import type {Command, InputRecord, Outcome, StartedRecord, TraceEvent} from '../trace/format.ts';
import {isSame, patchOf} from '../trace/patch.ts';

const machines: Readonly<Record<string, AnyStateMachine>> = {
	client: clientMachine,
	evaluator: evaluatorMachine,
	'fed-server': fedServerMachine,
	'main-server': mainServerMachine,
};

/** The first thing in which a replayed record is not the recorded one. */
export type Difference = {
	/** `command 0`, `state`, `context` with a path, or `error`. */
	readonly what: string;
	readonly recorded: unknown;
	readonly replayed: unknown;
};

type Actor = ReturnType<typeof createMachineActor>;

/** Where a replayed actor is, so that a replay can come back to it. */
export type ActorMark = {
	readonly started: StartedRecord;
	readonly state: unknown;
	readonly context: unknown;
	readonly sequence: number;
	readonly members: ReadonlySet<string>;
};

/** A replayed command has no size: the tensors are not here. */
type Replayed =
	| {readonly send: string; readonly to?: string; readonly body: unknown}
	| {readonly pass: string; readonly input: unknown}
	| {readonly timer: number; readonly delayMs: number};

export class ReplayedActor {
	readonly id: string;
	readonly #started: StartedRecord;
	readonly #machine: AnyStateMachine;
	#sequence: number;
	#actor: Actor | undefined;
	#commands: Replayed[] = [];
	#thrown: string | undefined;
	/** What the recorded state was after the last record, and the replayed context. */
	#state: unknown;
	#context: unknown;
	/** Members of the recorded context: what a later version of the machine adds to it is no divergence. */
	#members: ReadonlySet<string> = new Set();
	/** False after lost records: the numbers of timers and of the next message are then taken from the record. */
	#areTimersKnown = true;
	#isSequenceKnown = true;

	/** Throws `trace-invalid` for a role that this version does not know. */
	constructor(started: StartedRecord) {
		const {actor, role, sequence} = started;
		const machine = machines[role];
		if (!machine) {
			const known = Object.keys(machines).join(', ');
			throw new CutlayerError(
				'trace-invalid',
				`${actor} is a ${role}: expected one of ${known}; use the version of Cutlayer that recorded it`,
			);
		}
		this.id = actor;
		this.#machine = machine;
		this.#started = started;
		this.#sequence = sequence;
	}

	/** An actor that goes on from a mark; the numbers of its timers are then taken from the record. */
	static from({started, state, context, sequence, members}: ActorMark): ReplayedActor {
		const actor = new ReplayedActor(started);
		actor.#goOn(state, context);
		actor.#sequence = sequence;
		actor.#members = members;
		return actor;
	}

	mark(): ActorMark {
		const [sequence, members] = [this.#sequence, this.#members];
		return {started: this.#started, state: this.state, context: this.context, sequence, members};
	}

	get state(): unknown {
		return this.#actor?.getSnapshot().value;
	}

	get context(): unknown {
		return this.#actor?.getSnapshot().context;
	}

	start(record: StartedRecord): Difference | undefined {
		this.#create('snapshot' in record ? {snapshot: record.snapshot} : {input: record.input ?? {}});
		this.#actor!.start();
		return this.#compare(record);
	}

	/** Feeds one input. After records were lost, goes on from what the next whole record says. */
	feed(record: InputRecord): Difference | undefined {
		this.#actor!.send(record.event as TraceEvent);
		return this.#compare(record);
	}

	/** Takes over a record's whole context and state without comparing; false when the record has none. */
	jumpTo({context, state}: Outcome): boolean {
		if (context === undefined || state === undefined) return false;
		this.#goOn(state, context);
		this.#isSequenceKnown = false;
		this.#members = new Set(Object.keys(context as object));
		return true;
	}

	#goOn(state: unknown, context: unknown): void {
		this.#create({snapshot: this.#machine.resolveState({value: state as string, context})});
		this.#actor!.start();
		this.#areTimersKnown = false;
		this.#commands = [];
		this.#state = state;
		this.#context = this.context;
	}

	/** Messages that the host sent, not the machine. */
	skip(commands: readonly Command[]): void {
		this.#sequence += commands.filter(command => 'send' in command || 'unsent' in command).length;
	}

	stop(): void {
		this.#actor?.stop();
	}

	#create(start: MachineStart): void {
		this.#actor?.stop();
		this.#actor = createMachineActor({
			id: this.id,
			machine: this.#machine,
			start,
			clock: {setTimeout: () => 0, clearTimeout: () => undefined},
			startPass: (pass, {input}) => {
				this.#commands.push({pass, input});
				return undefined;
			},
			send: ({verb, to, body}) => this.#commands.push({send: verb, ...(to !== undefined && {to}), body}),
			onTimerSet: (timer, delayMs) => this.#commands.push({timer, delayMs}),
			onSettled: () => undefined,
			onDone: thrown => {
				this.#thrown = thrown;
			},
		});
	}

	#compare(record: StartedRecord | InputRecord): Difference | undefined {
		const commands = this.#commands;
		this.#commands = [];
		if (record.thrown !== undefined || this.#thrown !== undefined) return this.#compareThrown(record.thrown);
		const difference =
			this.#compareCommands((record.commands ?? []).filter(isKnown), commands) ?? this.#compareState(record);
		this.#context = this.context;
		return difference;
	}

	#compareThrown(recorded: string | undefined): Difference | undefined {
		const replayed = this.#thrown;
		this.#thrown = undefined;
		const isEqual = recorded !== undefined && replayed !== undefined && recorded.endsWith(replayed);
		return isEqual ? undefined : {what: 'error', recorded, replayed};
	}

	#compareCommands(recorded: readonly Command[], replayed: readonly Replayed[]): Difference | undefined {
		for (let index = 0; index < Math.max(recorded.length, replayed.length); index++) {
			const [then, now] = [this.#comparable(recorded[index]), this.#withId(replayed[index], recorded[index])];
			if (!isSame(then, now)) return {what: `command ${index}`, recorded: then, replayed: now};
		}
		return undefined;
	}

	/** Of a recorded command what a replay can know; members that a later minor version adds are none of it. */
	#comparable(command: Command | undefined): unknown {
		if (!command) return undefined;
		if ('send' in command) {
			const {send, to, id, body} = command;
			return {send, id, ...(to !== undefined && {to}), body};
		}
		if ('unsent' in command) {
			const {unsent, to, body} = command;
			return {unsent, ...(to !== undefined && {to}), body};
		}
		if ('pass' in command) return {pass: command.pass, input: command.input};
		const {timer, delayMs} = command;
		return this.#areTimersKnown ? {timer, delayMs} : {delayMs};
	}

	/** A replayed command as the trace would hold it. */
	#withId(command: Replayed | undefined, recorded: Command | undefined): unknown {
		if (command && 'send' in command) {
			if (!this.#isSequenceKnown && recorded && 'send' in recorded) {
				this.#sequence = Number(recorded.id.slice(recorded.id.lastIndexOf(':') + 1));
				this.#isSequenceKnown = true;
			}
			const sequence = this.#sequence++;
			const {send, ...rest} = command;
			if (recorded && 'unsent' in recorded) return {unsent: send, ...rest};
			return {send, id: `${this.id}:${this.#started.incarnation}:${sequence}`, ...rest};
		}
		return command && 'timer' in command && !this.#areTimersKnown ? {delayMs: command.delayMs} : command;
	}

	#compareState({state, patch, context}: Outcome): Difference | undefined {
		if (state !== undefined) this.#state = state;
		if (!isSame(this.#state, this.state)) return {what: 'state', recorded: this.#state, replayed: this.state};
		const isWhole = context !== undefined;
		if (isWhole) this.#members = new Set(Object.keys(context as object));
		const replayed = patchOf(isWhole ? context : this.#context, this.context).filter(
			({op, path}) => op === 'remove' || this.#members.has(path.split('/')[1] ?? ''),
		);
		const difference = isWhole ? replayed[0] : firstUnlike(patch ?? [], replayed);
		if (!difference) return undefined;
		const {path} = difference;
		const operation = patch?.find(one => one.path === path);
		const recorded = isWhole ? valueAt(context, path) : operation && 'value' in operation ? operation.value : operation;
		return {what: `context ${path}`, recorded, replayed: valueAt(this.context, path)};
	}
}

/** A later minor version may record what no machine of this one does. */
const isKnown = (command: Command): boolean =>
	['send', 'unsent', 'pass', 'timer'].some(member => Object.hasOwn(command, member));

type Operations = readonly ReturnType<typeof patchOf>[number][];

/** The first operation that is in one patch and not in the other; their order is of no importance. */
function firstUnlike(recorded: Operations, replayed: Operations): Operations[number] | undefined {
	const other = new Map(replayed.map(operation => [operation.path, operation]));
	for (const operation of recorded) {
		if (!isSame(operation, other.get(operation.path))) return operation;
		other.delete(operation.path);
	}
	for (const operation of other.values()) return operation;
	return undefined;
}

function valueAt(value: unknown, path: string): unknown {
	const keys = path.split('/').slice(1);
	return keys.reduce<unknown>(
		(inner, key) => (inner as Record<string, unknown> | undefined)?.[key.replaceAll('~1', '/').replaceAll('~0', '~')],
		value,
	);
}
