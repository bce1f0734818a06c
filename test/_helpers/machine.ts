/**
Steps a machine without an actor: events in, the next snapshot and the commands out. Nothing is sent and no pass runs.
*/
import {type AnyMachineSnapshot, type AnyStateMachine, initialTransition, transition} from 'xstate';
import type {Outgoing} from '../../protocols/events.ts';

/** A machine at rest between two events. */
export class Stepper {
	snapshot: AnyMachineSnapshot;
	/** Messages of the last event. */
	sent: Outgoing[];
	readonly #machine: AnyStateMachine;

	constructor(machine: AnyStateMachine, input: object) {
		this.#machine = machine;
		const [snapshot, actions] = initialTransition(machine, input as never);
		this.snapshot = snapshot;
		this.sent = messages(actions);
	}

	/** Takes events one after the other; `sent` is what the last one caused. */
	take(...events: readonly ({readonly type: string} & Record<string, unknown>)[]): this {
		for (const event of events) {
			const [snapshot, actions] = transition(this.#machine, this.snapshot, event as never);
			this.snapshot = snapshot;
			this.sent = messages(actions);
		}
		return this;
	}

	// biome-ignore lint/suspicious/noExplicitAny: a test reads what it expects
	get context(): any {
		return this.snapshot.context;
	}

	get state(): string {
		return JSON.stringify(this.snapshot.value);
	}

	/** The one message of the last event with this verb. */
	one<V extends Outgoing['verb']>(verb: V): Extract<Outgoing, {verb: V}> {
		const found = this.sent.filter(message => message.verb === verb);
		if (found.length !== 1) throw new Error(`Expected one ${verb}, found ${JSON.stringify(this.sent)}`);
		return found[0] as Extract<Outgoing, {verb: V}>;
	}

	get verbs(): string[] {
		return this.sent.map(message => (message.to ? `${message.verb} to ${message.to}` : message.verb));
	}
}

const messages = (actions: readonly {type: string; params?: unknown}[]): Outgoing[] =>
	actions.filter(action => action.type === 'send').map(action => action.params as Outgoing);

/** A message that arrived. */
export const from = (sender: string, fromKind: string, type: string, body: object) => ({
	type,
	from: sender,
	fromKind,
	body,
});

export const handle = (name: string) => ({handle: name, bytes: 4});

/** What both sides agree on; equal unless changed. */
export const agreement = {
	protocol: 1,
	modelHash: 'model',
	vocabularyHash: 'vocabulary',
	cut: 2,
	rank: 4,
	alpha: 16,
	wire: {activations: 'f32', gradients: 'f32', adapters: 'f32'},
} as const;

/** The opening of a round of equal members. */
export const roundOpened = (round: number, clients: readonly string[], {steps = 2, adapterVersion = round} = {}) =>
	from('fed', 'fed-server', 'round-opened', {
		round,
		steps,
		adapterVersion,
		cohort: clients.map(client => ({client, weight: 1 / clients.length})),
		deadlineMs: 0,
		tensors: handle(`global/${round}`),
	});

/** A client of the run of `agreement`, with one batch on its way at a time. */
export const clientInput = {
	clientId: 'c1',
	incarnation: 0,
	samples: 10,
	agreement,
	fedServerId: 'fed',
	mainServerId: 'main',
	accumulation: 1,
	onSkipped: 'drop',
	stepsPerVersion: null,
	answerTimeoutMs: 1000,
	heartbeatMs: 0,
};

/** The main server of that run. */
export const mainServerInput = {
	serverId: 'main',
	incarnation: 0,
	fedServerId: 'fed',
	agreement,
	update: {kind: 'parallel'},
	stepClosing: {kind: 'all'},
	accumulation: 1,
	isOwnPace: false,
	credit: 1,
	isAdapterPublished: false,
	answerTimeoutMs: 1000,
};
