/**
What the main server knows and hears: the types of its machine's input, context and events. Plain JSON.
*/
import type {HandledBody, HostEvent, Incoming} from '../protocols/events.ts';
import type {Agreement, CohortMember} from '../protocols/messages.ts';
import type {ServerUpdate, StepClosing} from '../protocols/step-policies.ts';
import type {Table} from '../protocols/table.ts';
import type {TensorHandle} from '../protocols/tensor.ts';
import type {StepPlan} from './policies/server-update.ts';

export type MainServerInput = {
	readonly serverId: string;
	readonly incarnation: number;
	readonly fedServerId: string;
	readonly agreement: Agreement;
	readonly update: ServerUpdate;
	/** Whom a step waits for under the update `parallel`. */
	readonly stepClosing: StepClosing;
	/** Whether every client is in a round of its own: the cohort is who trains, whatever the round. */
	readonly isOwnPace: boolean;
	/** Cohort steps whose gradients are averaged before one optimizer step; default 1. */
	readonly accumulation: number;
	/** Who has the labels: with the clients a step is finished by them. Default the main server. */
	readonly labels?: 'main-server' | 'client';
	/** Unanswered steps a client may have. */
	readonly credit: number;
	/** True when evaluators want the adapter at each round's end. */
	readonly isAdapterPublished: boolean;
	readonly answerTimeoutMs: number;
};

/** A batch that waits for its step. */
export type Pending = HandledBody<'activations'> & {
	readonly client: string;
	readonly arrival: number;
	/** Where clients have the labels: what went to the client's end of the model, and what came back. */
	readonly tailOutput?: TensorHandle;
	readonly tailGradient?: {readonly loss: number; readonly tensors: TensorHandle};
};

/** A client's copy of the adapter: its updates so far, steps that wait for one, and whether it moved since the last average. */
export type Replica = {readonly updates: number; readonly accumulated: number; readonly isMoved: boolean};

/** The last answer to a client, kept for repeats. */
export type Reply = HandledBody<'gradient'> & {readonly client: string; readonly tailOutput?: TensorHandle};

/** What the main server remembers of the blocks it shares. */
export type SharingContext = {
	/** A global adapter to take over, and the one that is being taken over. */
	readonly adoption: TensorHandle | null;
	readonly adopting: TensorHandle | null;
	/** The round whose end the fed server asks for; nothing is trained in it any more. */
	readonly sharedAsked: number | null;
	readonly isRoundClosed: boolean;
};

export type MainServerContext = MainServerInput &
	SharingContext & {
		readonly round: number;
		readonly steps: number;
		/** The first step of the round that is not done; under `parallel` the cohort takes each together. */
		readonly nextStep: number;
		readonly adapterVersion: number;
		readonly cohort: readonly CohortMember[];
		/** Members when the round opened. */
		readonly cohortSize: number;
		/** The deadline of the step that is collected is past. */
		readonly isDeadlinePast: boolean;
		/** By client, under `replicas`. */
		readonly replicas: Table<Replica>;
		/** Copies to average before anything else, with weights that sum to 1. */
		readonly averaging: readonly CohortMember[];
		/** Incarnations by client: what an older one sends is refused. */
		readonly incarnations: Table<number>;
		/** By client, where cuts are unlike. */
		readonly cuts: Table<number>;
		readonly inbox: Table<Pending>;
		/** Clients of the inbox by the number of their batch's arrival. */
		readonly queue: Table<string>;
		/** No arrival before this one waits. */
		readonly oldestArrival: number;
		readonly replies: Table<Reply>;
		/** By client, where several batches may be on their way: those whose turn has not come, in order of their steps. */
		readonly early?: Table<readonly Pending[]>;
		/** By client, there: the answers before the last, as many as may be asked for again. */
		readonly earlierReplies?: Table<readonly Reply[]>;
		/** Members of the cohort that have taken all steps of the round. */
		readonly finished: number;
		readonly arrivals: number;
		readonly plan: StepPlan;
		/** Where clients have the labels: the clients of the forward under way, in its order. */
		readonly forwarded: readonly string[];
		readonly serverVersion: number;
		/** Steps since the last optimizer step, for accumulation. */
		readonly accumulated: number;
		readonly isPublishing: boolean;
		readonly isPauseAsked: boolean;
		readonly isWelcome: boolean;
		readonly isOver: boolean;
		readonly failure: string | null;
	};

export type MainServerEvent =
	| Incoming<
			| 'hello'
			| 'welcome'
			| 'refused'
			| 'round-opened'
			| 'roster-changed'
			| 'activations'
			| 'tail-gradient'
			| 'leave'
			| 'shared-blocks-asked'
			| 'run-finished'
	  >
	| HostEvent
	| {
			type: 'mainStep.done';
			losses: number[];
			gradientNorm: number;
			isApplied: boolean;
			tensors: Record<string, TensorHandle>;
	  }
	| {type: 'mainForward.done'; tensors: Record<string, TensorHandle>}
	| {type: 'mainBackward.done'; gradientNorm: number; isApplied: boolean; tensors: Record<string, TensorHandle>}
	| {type: 'averageReplicas.done'}
	| {type: 'adoptShared.done'}
	| {type: 'readShared.done'; tensors: TensorHandle}
	| {type: 'readAdapter.done'; tensors: TensorHandle};
