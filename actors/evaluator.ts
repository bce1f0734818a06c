/**
The evaluator: an observer that measures the validation loss of each pair of adapters (the clients' global one and the
main server's) as rounds end. It never touches training.

Pure: what it does to the world is the action `send` and its pass `evaluate`, provided by the host.
*/
import {assign, setup} from 'xstate';
import type {HostEvent, Incoming, Outgoing} from '../protocols/events.ts';
import type {TensorHandle} from '../protocols/tensor.ts';
import {unprovidedAction, unprovidedPass} from './unprovided.ts';

export type EvaluatorInput = {
	readonly evaluatorId: string;
	readonly hasMainServer: boolean;
	/** Every so many adapter versions; the last one always. */
	readonly everyRounds: number;
};

type Versioned = {readonly version: number; readonly serverVersion: number; readonly tensors: TensorHandle};

export type EvaluatorContext = EvaluatorInput & {
	/** Adapters that wait for their other half or their turn, oldest first; at most `waitingMax` of each. */
	readonly clientAdapters: readonly Versioned[];
	readonly serverAdapters: readonly Versioned[];
	readonly evaluatedVersion: number;
	readonly finalVersion: number | null;
	readonly failure: string | null;
};

/** An evaluator slower than training lets the oldest go. */
const waitingMax = 8;

export type EvaluatorEvent =
	| Incoming<'round-opened' | 'server-adapter' | 'run-finished'>
	| HostEvent
	| {type: 'evaluate.done'; loss: number; perplexity: number; targets: number};

type Pair = {readonly client: Versioned; readonly server: Versioned | undefined};

/** The oldest wanted version whose halves are both here. */
function pairOf({
	clientAdapters,
	serverAdapters,
	hasMainServer,
	everyRounds,
	finalVersion,
}: EvaluatorContext): Pair | undefined {
	for (const client of clientAdapters) {
		if (client.version % everyRounds !== 0 && client.version !== finalVersion) continue;
		const server = serverAdapters.find(adapter => adapter.version === client.version);
		if (server || !hasMainServer) return {client, server};
	}
	return undefined;
}

const passInput = (context: EvaluatorContext) => {
	const {client, server} = pairOf(context)!;
	return {tensors: server ? {client: client.tensors, server: server.tensors} : {client: client.tensors}};
};

/** The list with one more version at its end; a version it has, or had, is not taken again. */
const extended = (list: readonly Versioned[], next: Versioned, evaluatedVersion: number): readonly Versioned[] =>
	next.version <= (list.at(-1)?.version ?? evaluatedVersion) ? list : [...list, next].slice(-waitingMax);

const takeAdapter = ({context, event}: {context: EvaluatorContext; event: EvaluatorEvent}) => {
	if (event.type !== 'round-opened' && event.type !== 'run-finished') return {};
	const {adapterVersion, tensors} = event.body;
	return {
		clientAdapters: extended(
			context.clientAdapters,
			{version: adapterVersion, serverVersion: 0, tensors},
			context.evaluatedVersion,
		),
		finalVersion: event.type === 'run-finished' ? adapterVersion : context.finalVersion,
	};
};

const takeServerAdapter = ({context, event}: {context: EvaluatorContext; event: EvaluatorEvent}) => {
	if (event.type !== 'server-adapter') return {};
	const {adapterVersion, serverVersion, tensors} = event.body;
	return {
		serverAdapters: extended(
			context.serverAdapters,
			{version: adapterVersion, serverVersion, tensors},
			context.evaluatedVersion,
		),
	};
};

const afterEvaluation = ({context}: {context: EvaluatorContext}) => {
	const {version} = pairOf(context)!.client;
	return {
		evaluatedVersion: version,
		clientAdapters: context.clientAdapters.filter(adapter => adapter.version > version),
		serverAdapters: context.serverAdapters.filter(adapter => adapter.version > version),
	};
};

const evaluationReport = ({context, event}: {context: EvaluatorContext; event: EvaluatorEvent}): Outgoing => {
	const {loss, perplexity, targets} = event as Extract<EvaluatorEvent, {type: 'evaluate.done'}>;
	const {client, server} = pairOf(context)!;
	const row = {
		adapterVersion: client.version,
		serverVersion: server?.serverVersion ?? 0,
		loss,
		perplexity,
		targets,
	};
	return {verb: 'report', body: {kind: 'eval', timeMs: 0, row}};
};

const machineSetup = setup({
	types: {
		context: {} as EvaluatorContext,
		events: {} as EvaluatorEvent,
		input: {} as EvaluatorInput,
		tags: {} as 'quiet',
		output: {} as {failure: string | null},
	},
	actors: {evaluate: unprovidedPass<EvaluatorEvent>('evaluate')},
	actions: {send: (_, _message: Outgoing) => unprovidedAction('send')()},
	guards: {
		hasPair: ({context}) => pairOf(context) !== undefined,
		isOver: ({context}) => context.finalVersion !== null && context.evaluatedVersion >= context.finalVersion,
	},
});

export const evaluatorMachine = machineSetup.createMachine({
	id: 'evaluator',
	context: ({input}) => ({
		...input,
		clientAdapters: [],
		serverAdapters: [],
		evaluatedVersion: -1,
		finalVersion: null,
		failure: null,
	}),
	initial: 'watching',
	on: {
		'host.changed': {actions: assign(({event}) => event.input)},
		'round-opened': {actions: assign(takeAdapter)},
		'run-finished': {actions: assign(takeAdapter)},
		'server-adapter': {actions: assign(takeServerAdapter)},
		'pass.failed': {
			target: '.failed',
			actions: assign({failure: ({event}) => `${event.pass} failed: ${event.error}`}),
		},
	},
	states: {
		watching: {
			tags: 'quiet',
			always: [
				{guard: 'hasPair', target: 'evaluating'},
				{guard: 'isOver', target: 'finished'},
			],
		},
		evaluating: {
			invoke: {src: 'evaluate', input: ({context}) => passInput(context)},
			on: {
				'evaluate.done': {
					target: 'watching',
					actions: [{type: 'send', params: evaluationReport}, assign(afterEvaluation)],
				},
			},
		},
		finished: {tags: 'quiet', type: 'final'},
		failed: {tags: 'quiet', type: 'final'},
	},
	output: ({context}) => ({failure: context.failure}),
});
