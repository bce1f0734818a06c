/**
The ports between the actors and the world. Each has a real and a simulated form of the same shape and one contract suite.
*/
import type {NamedTensors} from './tensor.ts';

/** A pending timer. */
export type TimerId = number;

/** Time. The wall form counts real milliseconds, the virtual form jumps from event to event. */
export interface Clock {
	/** Milliseconds since the run began. */
	now(): number;
	/** Calls `fire` once, `delayMs` from now, unless cleared. */
	setTimeout(fire: () => void, delayMs: number): TimerId;
	clearTimeout(id: TimerId): void;
}

/** A frame on the bus: its subject, its headers and its body as sent. */
export type Frame = {
	readonly subject: string;
	readonly headers: Readonly<Record<string, string>>;
	readonly body: Uint8Array;
};

/** Ends a subscription; frames that were not delivered yet are dropped. */
export type Unsubscribe = () => void;

/**
A publish-subscribe bus with NATS subject rules (`*` one token, `>` the rest).
Frames of one publisher to one subscriber arrive in the order they were published.
A publisher receives its own frames when it subscribes to them.
*/
export interface Bus {
	/** The largest body one frame may have now, in bytes; a reconnect may change it. */
	readonly maxPayloadBytes: number;
	/** Queues a frame and returns at once; throws `broker-limit` when the body is over `maxPayloadBytes`. */
	publish(frame: Frame): void;
	/**
	Resolves once a stream of the broker has the frame, however often it must be said; a repeat is known by its id.
	Rejects when the broker takes no such frame or the connection is closed. Absent where no broker keeps streams.
	*/
	keep?(frame: Frame, id: string): Promise<void>;
	/** Calls `deliver` for each frame whose subject matches. An exception of `deliver` is reported, never passed to the bus. */
	subscribe(pattern: string, deliver: (frame: Frame) => void): Unsubscribe;
	/** Resolves when everything published so far has reached the broker and every subscription made so far is active. */
	flush(): Promise<void>;
	close(): Promise<void>;
}

/** One unit of arithmetic for one actor: `pass` names it, `input` is plain JSON. */
export type PassRequest = {
	readonly actor: string;
	readonly pass: string;
	readonly input: unknown;
	readonly tensors: NamedTensors;
	/** Passes that may be computed as one: they wait for each other until all `size` of them have been asked for. */
	readonly cohort?: {readonly id: number; readonly size: number};
};

export type PassResult = {readonly output: unknown; readonly tensors: NamedTensors};

/** Arithmetic behind a port: requests of one actor are computed in the order they are made. */
export interface Compute {
	run(request: PassRequest): Promise<PassResult>;
	close(): Promise<void>;
}
