/**
What a client knows and hears: the types of its machine's input, context and events. Plain JSON.
*/
import type {HandledBody, HostEvent, Incoming} from '../protocols/events.ts';
import type {Agreement} from '../protocols/messages.ts';
import type {TensorHandle} from '../protocols/tensor.ts';

export type ClientInput = {
	readonly clientId: string;
	readonly incarnation: number;
	/** |D_i|, rows. */
	readonly samples: number;
	readonly agreement: Agreement;
	readonly fedServerId: string;
	/** Absent under FedLoRA and CenLoRA, where the client holds the whole model. */
	readonly mainServerId: string | null;
	/** Batches whose gradients are averaged before one optimizer step; default 1. */
	readonly accumulation: number;
	/** Who has the labels; with the client it holds the model's end too. Default the main server. */
	readonly labels?: 'main-server' | 'client';
	/** Batches that may be on their way to the main server at once, as far as its credit goes; default 1. */
	readonly pipelineDepth?: number;
	/** A step the others took without this client is given up, or its last gradient is applied once more in its place. */
	readonly onSkipped: 'drop' | 'reuse';
	/** The schedule's position by the version a round opens with, in optimizer steps a version; null = by its own steps. */
	readonly stepsPerVersion: number | null;
	/** After this long without an answer a message is sent again, ms. */
	readonly answerTimeoutMs: number;
	/** A heartbeat every so many ms; 0 = none. */
	readonly heartbeatMs: number;
};

type Sent = {
	readonly lengths: number[];
	readonly targets: number;
	readonly tensors: TensorHandle;
	/** Own updates when they were computed: later ones are the gradient's staleness. */
	readonly optimizerSteps: number;
};

/** A batch on its way to the main server, or whose gradient waits for those before it. */
export type InFlight = Sent & {
	readonly step: number;
	readonly batchIndex: number;
	readonly gradient: HandledBody<'gradient'> | null;
	/** Its forward pass has to be done again. */
	readonly isLost?: true;
};

/** Where several batches may be on their way at once. */
export type Pipeline = {
	/** How many. */
	readonly depth: number;
	/** In order of their steps. */
	readonly inFlight: readonly InFlight[];
	/** The batch whose forward pass is under way; `isAgain`: it is among those on their way. */
	readonly begun: {readonly step: number; readonly batchIndex: number; readonly isAgain?: true} | null;
	/** The first step of the round that was not begun. */
	readonly nextStep: number;
	/** Batches that were begun and not trained on, ascending: the next to be begun. */
	readonly returned: readonly number[];
};

/** What the model's end gave, where the client holds it. */
type Tail = {readonly loss: number; readonly tensors: TensorHandle};

export type ClientContext = ClientInput & {
	readonly round: number;
	/** Index of the step inside the round; also counts the steps done. */
	readonly step: number;
	readonly steps: number;
	readonly adapterVersion: number;
	readonly serverVersionSeen: number;
	/** Batches consumed, or begun where several are on their way, since the run began: the index of the next batch. */
	readonly batchIndex: number;
	readonly optimizerSteps: number;
	/** Of this round's batches, nats a token, and of their squares. */
	readonly lossSum: number;
	readonly lossSquareSum: number;
	readonly batchesDone: number;
	readonly welcomedBy: readonly string[];
	readonly isUploaded: boolean;
	readonly isPauseAsked: boolean;
	/** A global adapter to take over before the next pass. */
	readonly adapter: TensorHandle | null;
	readonly activations: Sent | null;
	readonly pipeline?: Pipeline;
	/** What came for the model's end, and what it gave for the step under way. */
	readonly tailOutput: TensorHandle | null;
	readonly tail: Tail | null;
	readonly gradient: HandledBody<'gradient'> | null;
	/** The step to go on with once the last gradient was applied in place of those missed. */
	readonly next: number;
	readonly upload: TensorHandle | null;
	readonly failure: string | null;
};

export type ClientEvent =
	| Incoming<
			| 'welcome'
			| 'refused'
			| 'round-opened'
			| 'round-closing'
			| 'tail-output'
			| 'gradient'
			| 'step-skipped'
			| 'upload-accepted'
			| 'run-finished'
			| 'dismissed'
	  >
	| HostEvent
	| {type: 'forward.done'; lengths: number[]; targets: number; tensors: TensorHandle}
	| {type: 'tailStep.done'; loss: number; tensors: TensorHandle}
	| {type: 'reuse.done'; isApplied: boolean; gradientNorm: number}
	| {type: 'backward.done'; tokens: number; gradientNorm: number}
	| {type: 'localStep.done'; loss: number; targets: number; tokens: number; gradientNorm: number}
	| {type: 'readAdapter.done'; tensors: TensorHandle};
