/**
What the fed server knows and hears: the types of its machine's input, context and events. Plain JSON.
*/
import type {HandledBody, HostEvent, Incoming} from '../protocols/events.ts';
import type {Agreement, CohortMember} from '../protocols/messages.ts';
import {type Aggregation, isAsynchronous, type RoundClosing, type Selection} from '../protocols/policies.ts';
import type {Table} from '../protocols/table.ts';
import type {TensorHandle} from '../protocols/tensor.ts';
import type {ClientStatistics} from './policies/candidates.ts';
import {drawsRandom} from './policies/selection.ts';

export type FedServerInput = {
	readonly serverId: string;
	readonly incarnation: number;
	readonly agreement: Agreement;
	/** The first round opens when so many clients have joined (and the main server, when there is one). */
	readonly clientsExpected: number;
	readonly hasMainServer: boolean;
	/** Who else hears an opening that is addressed to single clients: the main server and the evaluator of the run. */
	readonly watchers: readonly string[];
	/** I: steps a client takes in a round. */
	readonly stepsPerRound: number;
	/** Steps a client takes in all; the last round may be shorter. */
	readonly stepsTotal: number;
	/** After so many aggregations a run with asynchronous rounds is over. */
	readonly aggregationsTotal: number;
	readonly selection: Selection;
	readonly closing: RoundClosing;
	readonly aggregation: Aggregation;
	/** A member is gone when it was silent for so long, ms; 0 = never. */
	readonly leaseMs: number;
	/** Every so many rounds the run is checkpointed; 0 = never. */
	readonly checkpointEveryRounds: number;
	/** Where clients have unlike cuts: those cuts, ascending, and who holds the blocks between them beside the clients. */
	readonly sharing: {
		readonly cuts: readonly number[];
		readonly mainServerId: string;
		readonly answerTimeoutMs: number;
	} | null;
};

export type Member = {
	readonly incarnation: number;
	readonly samples: number;
	readonly silentChecks: number;
	/** Where cuts are unlike. */
	readonly cut?: number;
};

/** An upload that was taken, with the version that the fed server itself gave its client to begin from. */
export type Upload = HandledBody<'upload'> & {
	readonly client: string;
	readonly baseVersion: number;
	/** The adapter of that version; only under asynchronous rounds. */
	readonly base?: TensorHandle;
	/** Where cuts are unlike. */
	readonly cut?: number;
};

/** Whose upload of a closed round may still come. */
export type LateMember = {readonly round: number; readonly adapterVersion: number; readonly openedAtMs: number | null};

/** The round that a client is in by itself, and the adapter it began from; null once it has uploaded or left. */
export type Assignment = {
	readonly round: number;
	readonly adapterVersion: number;
	readonly adapter: TensorHandle | null;
};

export type FedServerContext = FedServerInput & {
	/** The open or last round of all; -1 before the first, and always under asynchronous rounds. */
	readonly round: number;
	readonly adapterVersion: number;
	readonly adapter: TensorHandle | null;
	readonly roster: Table<Member>;
	readonly isMainServerHere: boolean;
	readonly cohort: readonly CohortMember[];
	readonly uploads: Table<Upload>;
	/** The main server's adapter of blocks that clients hold too, once the round has closed. */
	readonly shared: TensorHandle | null;
	/** Members of the cohort that left before uploading; before the first round all that left. */
	readonly gone: readonly string[];
	readonly stepsDone: number;
	/** Ms of run time; null where no policy asks for it. */
	readonly openedAtMs: number | null;
	/** Of the open round, after its opening; null = none. */
	readonly deadlineMs: number | null;
	readonly isDeadlinePast: boolean;
	/** The last round that takes no more uploads. */
	readonly closedRound: number;
	readonly late: Table<LateMember>;
	/** Uploads that wait for the next aggregation: late ones, or all under asynchronous rounds. */
	readonly carried: readonly Upload[];
	/** The uploads of the aggregation under way. */
	readonly counting: readonly Upload[];
	readonly statistics: Table<ClientStatistics>;
	readonly assignments: Table<Assignment>;
	/** Clients that wait for an assignment. */
	readonly idle: readonly string[];
	/** The version that watchers heard of; -1 when the cohort is another since. */
	readonly toldVersion: number;
	readonly isPauseAsked: boolean;
	/** The round under way is the last one. */
	readonly isFinishAsked: boolean;
	readonly failure: string | null;
};

export type FedServerEvent =
	| Incoming<'hello' | 'shared-blocks' | 'heartbeat' | 'leave'>
	/** The host says when it came, ms of run time. */
	| (Incoming<'upload'> & {readonly atMs?: number})
	| HostEvent
	| {type: 'readAdapter.done'; tensors: TensorHandle}
	/** The time, ms of run time, and a number in [0, 1) for each client, keyed by (seed, round, client). */
	| {type: 'survey.done'; nowMs: number; draws: Readonly<Record<string, number>>}
	| {type: 'aggregate.done'; tensors: TensorHandle}
	| {type: 'checkpoint.done'};

/** The steps of the round about to open or open now. */
export const roundSteps = ({stepsPerRound, stepsTotal, stepsDone}: FedServerContext) =>
	Math.min(stepsPerRound, stepsTotal - stepsDone);

/** Whether every client goes at its own pace. */
export const isOwnPace = ({aggregation}: FedServerInput): boolean => isAsynchronous(aggregation);

/** Whether an opening needs the time or random numbers. */
export const isSurveyed = ({selection, closing}: FedServerInput): boolean =>
	drawsRandom(selection) || closing.kind === 'adaptive';

/** Whether a closed round's upload still counts. */
export const isCarrying = ({closing}: FedServerInput): boolean => 'late' in closing && closing.late === 'carry';
