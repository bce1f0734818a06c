/**
The guards and actions of a machine as functions of what an actor is doing: those that our machines use and no others. They change
nothing but through the work they are given.
*/
import type {AnyStateMachine, AnyStateNode, EventObject} from 'xstate';
import type {Outgoing, PassInput} from '../../protocols/events.ts';

/** What a machine has that tables do not know: it runs in xstate's own actor. */
export class Unsupported extends Error {}

export type Given = {readonly context: object; readonly event: EventObject};

export type Guard = (given: Given) => boolean;

/** An event being taken: the context as it is by now, and what is to be done. */
export type Work = Given & {
	context: object;
	/** Something is other than before: transitions without event are looked for once more. */
	isChanged: boolean;
	send(message: Outgoing): void;
	spawn(id: string, src: string, input: PassInput): void;
	stopChild(id: string): void;
	schedule(id: string, event: EventObject, delayMs: number): void;
	cancel(id: string): void;
};

export type Step = (work: Work) => void;

/** A value, or a function that gives it. */
type Resolvable<T> = T | ((given: Given) => T);

/** Functions of xstate that stand for something else and carry what. */
type Builtin = {
	readonly type?: string;
	readonly check?: (snapshot: object, given: Given, guard: object) => boolean;
	readonly stateValue?: unknown;
	readonly assignment?: Resolvable<object> | Readonly<Record<string, unknown>>;
	readonly collect?: (given: Given & {readonly enqueue: Enqueue}) => void;
	readonly event?: EventObject;
	readonly id?: string;
	readonly delay?: string | number | ((given: Given) => number);
	readonly sendId?: string;
};

type Action = {readonly type: string; readonly params?: Resolvable<Outgoing>};

type Enqueue = ((action: Action | Builtin) => void) & {assign: (assignment: Builtin['assignment']) => void};

const resolved = <T>(value: Resolvable<T>, given: Given): T =>
	typeof value === 'function' ? (value as (given: Given) => T)(given) : value;

const isBuiltin = (action: unknown): action is Builtin & {readonly type: string} =>
	typeof action === 'function' && typeof (action as Builtin).type === 'string';

/** What an action that is being asked has enqueued so far. */
let enqueued: unknown[] = [];

const enqueue: Enqueue = Object.assign((action: Action | Builtin) => void enqueued.push(action), {
	assign: (assignment: Builtin['assignment']) => void enqueued.push(new Assignment(assignment)),
});

class Assignment {
	readonly assignment: Builtin['assignment'];

	constructor(assignment: Builtin['assignment']) {
		this.assignment = assignment;
	}
}

function assign(work: Work, assignment: Builtin['assignment']): void {
	work.isChanged = true;
	if (typeof assignment === 'function') {
		work.context = {...work.context, ...(assignment as (given: Given) => object)(work)};
		return;
	}
	const changed: Record<string, unknown> = {};
	for (const key in assignment) {
		const value = (assignment as Readonly<Record<string, unknown>>)[key];
		changed[key] = typeof value === 'function' ? (value as (given: Given) => unknown)(work) : value;
	}
	work.context = {...work.context, ...changed};
}

function send(work: Work, {type, params}: Action): void {
	if (type !== 'send') throw new Unsupported(`the action ${type}`);
	work.send(resolved(params!, work));
}

/** One of the few kinds that an action of ours may enqueue. */
function take(work: Work, action: unknown): void {
	if (action instanceof Assignment) assign(work, action.assignment);
	else if (isBuiltin(action) && action.type === 'xstate.assign') assign(work, action.assignment);
	else if (typeof action === 'object' && action !== null) send(work, action as Action);
	else throw new Unsupported(`an enqueued ${String(action)}`);
}

function collected(work: Work, collect: NonNullable<Builtin['collect']>): readonly unknown[] {
	const before = enqueued;
	enqueued = [];
	try {
		const {context, event} = work;
		collect({context, event, enqueue});
		return enqueued;
	} finally {
		enqueued = before;
	}
}

export class ChartWords {
	readonly #machine: AnyStateMachine;
	readonly #entries = new Map<AnyStateNode, readonly Step[]>();
	readonly #exits = new Map<AnyStateNode, readonly Step[]>();

	constructor(machine: AnyStateMachine) {
		this.#machine = machine;
	}

	/** What entering a state does: its actions, then the passes it invokes. */
	entryOf(node: AnyStateNode): readonly Step[] {
		return known(this.#entries, node, () => [...this.steps(node.entry), ...this.#spawnsOf(node)]);
	}

	exitOf(node: AnyStateNode): readonly Step[] {
		return known(this.#exits, node, () => this.steps(node.exit));
	}

	/** The passes of a state end with it. */
	stopsOf(node: AnyStateNode): readonly Step[] {
		return node.invoke.map(
			({id}): Step =>
				work =>
					work.stopChild(id),
		);
	}

	#spawnsOf(node: AnyStateNode): readonly Step[] {
		return node.invoke.map(({id, src, input, onDone, onError, onSnapshot}): Step => {
			if (typeof src !== 'string' || onDone || onError || onSnapshot) throw new Unsupported(`what ${node.id} invokes`);
			return work => work.spawn(id, src, resolved(input as Resolvable<PassInput>, work));
		});
	}

	steps(actions: readonly unknown[]): readonly Step[] {
		return actions.map(action => this.#step(action));
	}

	#step(action: unknown): Step {
		if (!isBuiltin(action)) {
			const isSend = typeof action === 'object' && action !== null && (action as Action).type === 'send';
			if (!isSend) throw new Unsupported(`the action ${String(action)}`);
			return work => send(work, action as Action);
		}
		const {type, assignment, collect, event, id, delay, sendId} = action;
		switch (type) {
			case 'xstate.assign':
				return work => assign(work, assignment);
			case 'xstate.enqueueActions':
				return work => {
					for (const one of collected(work, collect!)) take(work, one);
				};
			case 'xstate.raise':
				if (delay === undefined || typeof event !== 'object' || !id) throw new Unsupported(`an event raised at once`);
				return work => work.schedule(id, event, this.#delay(delay, work));
			case 'xstate.cancel':
				return work => work.cancel(sendId!);
			default:
				throw new Unsupported(`the action ${type}`);
		}
	}

	#delay(delay: NonNullable<Builtin['delay']>, work: Work): number {
		const {delays} = this.#machine.implementations as {delays: Readonly<Record<string, Resolvable<number>>>};
		const found = typeof delay === 'string' ? delays[delay] : delay;
		const delayMs = resolved(found!, work);
		if (typeof delayMs !== 'number') throw new Unsupported(`a delay of ${String(delayMs)}`);
		return delayMs;
	}

	guard(guard: unknown): Guard | undefined {
		if (guard === undefined) return undefined;
		const {guards} = this.#machine.implementations as {guards: Readonly<Record<string, unknown>>};
		const found = typeof guard === 'string' ? guards[guard] : guard;
		if (typeof found === 'string') return this.guard(found);
		if (typeof found !== 'function' || 'stateValue' in found) throw new Unsupported(`the guard ${String(guard)}`);
		const {check} = found as Builtin;
		// What stands for several guards finds them by the machine.
		const snapshot = {machine: this.#machine};
		return check ? given => check(snapshot, given, found) : (found as unknown as Guard);
	}
}

function known<K, V>(values: Map<K, V>, key: K, make: () => V): V {
	let value = values.get(key);
	if (value === undefined) {
		value = make();
		values.set(key, value);
	}
	return value;
}
