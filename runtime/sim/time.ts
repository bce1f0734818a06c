/**
What simulated devices, links and absences need of time; virtual time and the wall's both have it.
*/
import type {Clock} from '../../protocols/ports.ts';
import type {Cancel} from './event-queue.ts';

export type SimTime = {
	/** When the run began or was taken up, ms. */
	readonly startMs: number;
	/** Milliseconds since the run began. */
	readonly nowMs: number;
	readonly isStopped: boolean;
	/** Has `fire` called at `atMs`, never before now. */
	at(atMs: number, actor: string, fire: () => void | Promise<void>): Cancel;
	/** As `at`, for what only asks for later events: nothing else follows from it that time would have to wait for. */
	hop(atMs: number, actor: string, fire: () => void): void;
	clockOf(actor: string): Clock;
	/** Lets time pass until stopped; resolves earlier with the reason when `check` gives one or nothing more can happen. */
	run(check?: StallCheck): Promise<string | undefined>;
	stop(): void;
};

/** Asked as time goes on, with the instant it comes to; a text ends the run with that reason. */
export type StallCheck = (nextMs: number) => string | undefined;
