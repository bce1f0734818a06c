/**
What a host tells whoever watches it, and how several watch one host. A watcher may change nothing.
*/
import type {FrameProblem} from '../../protocols/envelope.ts';
import type {Outgoing, PassInput} from '../../protocols/events.ts';
import type {SenderKind} from '../../protocols/subjects.ts';
import type {NamedTensors, TensorHandle} from '../../protocols/tensor.ts';
import type {MachineStart} from './machine.ts';

/** A host as its watchers see it. */
export type ObservedHost = {
	readonly id: string;
	readonly kind: SenderKind;
	readonly incarnation: number;
	readonly isQuiet: boolean;
	readonly state: unknown;
	readonly context: unknown;
	tensors(handle: TensorHandle): NamedTensors;
};

/** `sequence` is the number of the next message; `tensors` are what a snapshot's handles stand for. */
export type HostStart = MachineStart & {
	readonly sequence: number;
	readonly tensors: readonly (readonly [string, NamedTensors])[];
};

/** Each call is one line of a trace or of a log, in the order in which things happen. */
export type HostObserver = {
	/** The machine is about to start. */
	readonly starting?: (host: ObservedHost, start: HostStart) => void;
	/** A message was taken and is about to enter the machine. */
	readonly heard?: (verb: string, body: unknown) => void;
	/** An event is about to enter the machine: the message `cause`, a timer's firing, a pass's result or the host's word. */
	readonly input?: (event: {readonly type: string}, cause: string | undefined, timer: number | undefined) => void;
	/** The machine has taken the event and its commands are out. */
	readonly transition?: (host: ObservedHost) => void;
	/** A message left. */
	readonly command?: (message: Outgoing, messageId: string, bytes: number) => void;
	/** A message could not be sent. */
	readonly unsent?: (message: Outgoing, problem: FrameProblem) => void;
	readonly passStarted?: (pass: string, input: PassInput) => void;
	readonly timerSet?: (timer: number, delayMs: number) => void;
	/** A frame was refused before it reached the machine; a refusal that was sent back came before this. */
	readonly dropped?: (problem: FrameProblem, sender: string) => void;
	/** The machine is in a final state, or it threw. */
	readonly done?: (failure: string | null, isThrown: boolean) => void;
};

const calls = [
	'starting',
	'heard',
	'input',
	'transition',
	'command',
	'unsent',
	'passStarted',
	'timerSet',
	'dropped',
	'done',
] as const satisfies readonly (keyof HostObserver)[];

/** One observer that tells all of them, in order; what none of them wants to hear it does not ask for. */
export function observers(...all: readonly (HostObserver | undefined)[]): HostObserver {
	const joined: Partial<Record<keyof HostObserver, (...told: readonly never[]) => void>> = {};
	for (const call of calls) {
		const told = all.flatMap(one => (one?.[call] ? [one[call] as (...told: readonly never[]) => void] : []));
		if (told.length === 1) joined[call] = told[0]!;
		else if (told.length > 1) joined[call] = (...given) => told.forEach(tell => void tell(...given));
	}
	return joined as HostObserver;
}
