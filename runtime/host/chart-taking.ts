/**
One event being taken by a machine in tables: transition after transition until none is left that needs no other event. What it comes to
is taken over by the actor when it is whole, and dropped when it throws.
*/
import type {EventObject} from 'xstate';
import type {Outgoing, PassInput} from '../../protocols/events.ts';
import type {Candidate, Configuration, Move, Selector} from './chart.ts';
import type {Work} from './chart-words.ts';

/** A pass that the machine has invoked. */
export type Child = {
	readonly id: string;
	readonly src: string;
	readonly input: PassInput;
	status: 'made' | 'running' | 'stopped';
	stop: (() => void) | undefined;
};

export const childOf = (id: string, src: string, input: PassInput): Child => ({
	...{id, src, input},
	status: 'made',
	stop: undefined,
});

/** A machine between two events. */
export type ChartState = {
	readonly configuration: Configuration;
	readonly context: object;
	readonly children: readonly Child[];
};

/** What an actor does for its machine. Messages leave at once, the rest is done when the event has been taken. */
export type Effects = {
	sendOut(message: Outgoing): void;
	defer(effect: () => void): void;
	begin(child: Child): void;
	end(child: Child): void;
	setTimer(id: string, event: EventObject, delayMs: number): void;
	clearTimer(id: string): void;
};

const errorPrefix = 'xstate.error.actor.';

export class Taking implements Work, ChartState {
	context: object;
	readonly event: EventObject;
	configuration: Configuration;
	children: readonly Child[];
	isChanged = false;
	/** The machine has ended, and what it gives. */
	end: Move['end'];
	output: unknown;
	failure: {readonly error: unknown} | undefined;
	readonly #effects: Effects;

	constructor(effects: Effects, {configuration, context, children}: ChartState, event: EventObject) {
		this.#effects = effects;
		this.configuration = configuration;
		this.context = context;
		this.children = children;
		this.event = event;
	}

	/** Throws what the machine's own functions throw. */
	take(): this {
		const taken = this.#answers();
		if (taken.length > 0) this.make(this.configuration.move(taken));
		else if (this.event.type.startsWith(errorPrefix)) return this.#giveUp();
		return this.settle();
	}

	/** A pass could not begin, and the machine has no answer to that. */
	#giveUp(): this {
		this.failure = {error: (this.event as unknown as {error: unknown}).error};
		for (const child of this.children) this.#drop(child);
		this.children = [];
		return this;
	}

	/** Takes transitions that need no event for as long as that changes anything. */
	settle(): this {
		while (!this.end) {
			const taken = this.#eventless();
			if (taken.length === 0) break;
			this.isChanged = false;
			this.make(this.configuration.move(taken));
			if (!this.isChanged) break;
		}
		if (this.end) for (const child of this.children) this.#drop(child);
		return this;
	}

	make({steps, to, end}: Move): void {
		for (const step of steps) step(this);
		if (to !== this.configuration) this.isChanged = true;
		this.configuration = to;
		if (end) this.#finish(end);
	}

	#finish(end: NonNullable<Move['end']>): void {
		this.end = end;
		this.output = end.output({context: this.context, event: {type: `xstate.done.state.${end.id}`}});
		for (const step of end.exits) step(this);
	}

	#answers(): readonly Candidate[] {
		const selector = this.configuration.selector(this.event.type);
		if (!selector) return none;
		const taken: Candidate[] = [];
		this.#select(selector, taken);
		return taken;
	}

	/** Whether somebody in the state of the selector answers; an outer state is not asked then. */
	#select({own, inner}: Selector, taken: Candidate[]): boolean {
		let isAnswered = false;
		for (const selector of inner) if (this.#select(selector, taken)) isAnswered = true;
		if (isAnswered) return true;
		for (const candidate of own) {
			if (!this.#isAllowed(candidate)) continue;
			taken.push(candidate);
			return true;
		}
		return false;
	}

	#isAllowed({guard, guardName, source}: Candidate): boolean {
		if (!guard) return true;
		try {
			return guard(this);
		} catch (error) {
			const where = `in transition for event '${this.event.type}' in state node '${source.id}'`;
			throw new Error(`Unable to evaluate guard ${guardName}${where}:\n${(error as Error).message}`);
		}
	}

	#eventless(): readonly Candidate[] {
		let taken: readonly Candidate[] = none;
		for (const candidates of this.configuration.eventless) {
			const found = candidates.find(({guard}) => !guard || guard(this));
			if (found && !taken.includes(found)) taken = [...taken, found];
		}
		return taken;
	}

	send(message: Outgoing): void {
		this.#effects.sendOut(message);
	}

	spawn(id: string, src: string, input: PassInput): void {
		this.isChanged = true;
		const child = childOf(id, src, input);
		this.children = [...this.children.filter(other => other.id !== id), child];
		this.#effects.defer(() => this.#effects.begin(child));
	}

	stopChild(id: string): void {
		this.isChanged = true;
		const child = this.children.find(other => other.id === id);
		if (!child) return;
		this.#drop(child);
		this.children = this.children.filter(other => other !== child);
	}

	/** One that was to begin with this event does not. */
	#drop(child: Child): void {
		if (child.status === 'made') child.status = 'stopped';
		else this.#effects.defer(() => this.#effects.end(child));
	}

	schedule(id: string, event: EventObject, delayMs: number): void {
		this.#effects.defer(() => this.#effects.setTimer(id, event, delayMs));
	}

	cancel(id: string): void {
		this.#effects.defer(() => this.#effects.clearTimer(id));
	}
}

const none: readonly Candidate[] = [];
