/**
What the fed server knows and hears: the types of its machine's input, context and events. Plain JSON.
*/
import type {HandledBody, HostEvent, Incoming} from '../protocols/events.ts';
import type {Agreement, CohortMember} from '../protocols/messages.ts';
import type {Table} from '../protocols/table.ts';
import type {TensorHandle} from '../protocols/tensor.ts';
import type {Aggregation} from './policies/aggregation.ts';
import type {RoundClosing} from './policies/round-closing.ts';

export type FedServerInput = {
	readonly serverId: string;
	readonly incarnation: number;
	readonly agreement: Agreement;
	/** The first round opens when so many clients have joined (and the main server, when there is one). */
	readonly clientsExpected: number;
	readonly hasMainServer: boolean;
	/** I: steps a client takes in a round. */
	readonly stepsPerRound: number;
	/** Steps a client takes in all; the last round may be shorter. */
	readonly stepsTotal: number;
	readonly closing: RoundClosing;
	readonly aggregation: Aggregation;
	/** A member is gone when it was silent for so long, ms; 0 = never. */
	readonly leaseMs: number;
	/** Every so many rounds the run is checkpointed; 0 = never. */
	readonly checkpointEveryRounds: number;
};

export type Member = {readonly incarnation: number; readonly samples: number; readonly silentChecks: number};
export type Upload = HandledBody<'upload'> & {readonly client: string};

export type FedServerContext = FedServerInput & {
	readonly round: number;
	readonly adapterVersion: number;
	readonly adapter: TensorHandle | null;
	readonly roster: Table<Member>;
	readonly isMainServerHere: boolean;
	readonly cohort: readonly CohortMember[];
	readonly uploads: Table<Upload>;
	/** Members of the cohort that left before uploading; before the first round all that left. */
	readonly gone: readonly string[];
	readonly stepsDone: number;
	readonly isDeadlinePast: boolean;
	readonly isPauseAsked: boolean;
	/** The round under way is the last one. */
	readonly isFinishAsked: boolean;
	readonly failure: string | null;
};

export type FedServerEvent =
	| Incoming<'hello' | 'upload' | 'heartbeat' | 'leave'>
	| HostEvent
	| {type: 'readAdapter.done'; tensors: TensorHandle}
	| {type: 'aggregate.done'; tensors: TensorHandle}
	| {type: 'checkpoint.done'};

/** The steps of the round about to open or open now. */
export const roundSteps = ({stepsPerRound, stepsTotal, stepsDone}: FedServerContext) =>
	Math.min(stepsPerRound, stepsTotal - stepsDone);
