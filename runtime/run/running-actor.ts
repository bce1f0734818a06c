/**
An actor of a run as the run sees it, in this process or in one of its own. Only types.
*/
import type {FrameProblem} from '../../protocols/envelope.ts';
import type {Clock} from '../../protocols/ports.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import type {NamedTensors} from '../../protocols/tensor.ts';
import type {ActorSpec} from '../compute/spec.ts';
import type {HostObserver} from '../host/observer.ts';
import type {ActorCheckpoint} from './checkpoint.ts';
import type {TraceOptions} from './tracing.ts';

export type ActorKind = 'client' | 'main-server' | 'fed-server' | 'evaluator';
export type ActorRole = {readonly kind: ActorKind; readonly id: string};

/** Where it stands. */
export type ActorStatus = {
	/** It waits for others and none of its passes is under way. */
	readonly isQuiet: boolean;
	readonly isDone: boolean;
	/** Why it gave up; null while it runs or when it ended well. */
	readonly failure: string | null;
};

/** What an actor tells its run. */
export type ActorEvents = {
	readonly changed: () => void;
	/** `isLost`: it could not say so itself, because it threw or its process died. */
	readonly done: (failure: string | null, isLost: boolean) => void;
	readonly dropped: (problem: FrameProblem, sender: string) => void;
	/** The fed server asks for a checkpoint between two rounds; the next one opens when it resolves. */
	readonly checkpoint: () => Promise<void>;
};

export type ActorRequest = ActorRole & {
	readonly scenario: Scenario;
	/** The run's id on the bus. */
	readonly run: string;
	readonly folder: string;
	readonly clock: Clock;
	readonly saved?: ActorCheckpoint | undefined;
	/** Its life: 0 for the first. */
	readonly incarnation?: number | undefined;
	readonly events: ActorEvents;
	/** What a process of its own records; actors in this process are recorded by `watch`. */
	readonly trace?: TraceOptions | undefined;
	readonly watch?: HostObserver | undefined;
};

export interface RunningActor extends ActorRole, ActorStatus {
	/** Joins the bus and begins; `changed`, where it is possible: values of its machine's input that are others from the start. */
	start(changed?: Readonly<Record<string, unknown>>): Promise<void>;
	/** Stops at the next step boundary. */
	pause(): void;
	resume(): void;
	/** It does not exist now, and will again: there is nothing to save. */
	readonly isAway?: boolean;
	/** The fed server: the round under way is the last one. */
	finish?(): void;
	/** Values of its machine's input that are others from now on; absent where that is not possible. */
	change?(input: Readonly<Record<string, unknown>>): void;
	/** Ends it as if its process had died; absent where that is not possible. */
	kill?(): void;
	/** Each of its passes takes so many milliseconds more from now on; absent where that is not possible. */
	slow?(delayMs: number): void;
	/** Its arithmetic is made of this from its next whole pass on; absent where that is not possible. */
	respec?(spec: ActorSpec): void;
	/**
	A snapshot with its arithmetic, once everything it published before has reached the broker.
	A client or main server comes to rest first; with `isLast` all do, and leave the bus with the snapshot.
	*/
	save(options: {readonly isLast: boolean}): Promise<ActorCheckpoint>;
	/** Its adapter now, in the wire format of adapters. */
	readAdapter(): Promise<NamedTensors>;
	/** Leaves the bus; nothing is sent. */
	stop(): Promise<void>;
}

export type OpenActor = (request: ActorRequest) => Promise<RunningActor>;
