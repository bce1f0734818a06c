/**
Every message of the protocol: one schema each, static types derived from it. Nothing here sends or receives.
A body may carry tensors only in its field `tensors`; unknown fields are ignored, so a newer minor version can add some.
*/
import Type, {type Static, type TSchema} from 'typebox';
import {runMessageRoutes, runMessageSchemas} from './run-messages.ts';
import type {SenderKind} from './subjects.ts';

/** Written in every frame; a receiver refuses another major version by name. */
export const protocolVersion = 1;

const count = (maximum = Number.MAX_SAFE_INTEGER) => Type.Integer({minimum: 0, maximum});
const id = Type.String({pattern: '^[a-z0-9-]{1,64}$'});
const hash = Type.String({minLength: 1, maxLength: 128});
const text = Type.String({maxLength: 2000});
const lengths = Type.Array(Type.Integer({minimum: 1, maximum: 1 << 20}), {minItems: 1, maxItems: 1 << 16});
const wireFormat = Type.Union([Type.Literal('f32'), Type.Literal('bf16'), Type.Literal('f16'), Type.Literal('i8')]);
const tensors = Type.Unsafe<unknown>(Type.Object({}));
const finite = Type.Number({minimum: -Number.MAX_VALUE, maximum: Number.MAX_VALUE});

/** How tensors of each kind cross the bus. */
const wire = Type.Object({activations: wireFormat, gradients: wireFormat, adapters: wireFormat});
export type WireFormats = Static<typeof wire>;

/** What must be equal on both sides before any training message; checked at the door. */
export const agreementSchema = Type.Object({
	protocol: count(1000),
	/** SHA-256 of the frozen weights. */
	modelHash: hash,
	/** SHA-256 of the vocabulary. */
	vocabularyHash: hash,
	/** The client holds blocks `[0, cut)`; of servers the smallest. */
	cut: count(10_000),
	/** Of a server whose clients have unlike cuts: those it takes. */
	cuts: Type.Optional(Type.Array(count(10_000), {maxItems: 1024})),
	/** Where labels stay with the clients: the blocks that they hold at the model's end. */
	tailBlocks: Type.Optional(count(10_000)),
	/** The sender's own. */
	rank: Type.Integer({minimum: 1, maximum: 65_536}),
	/** Of a server whose clients have unlike ranks: those it takes. */
	ranks: Type.Optional(Type.Array(Type.Integer({minimum: 1, maximum: 65_536}), {maxItems: 1024})),
	alpha: finite,
	wire,
});
export type Agreement = Static<typeof agreementSchema>;

const cohortMember = Type.Object({client: id, weight: Type.Number({minimum: 0, maximum: 1})});
export type CohortMember = Static<typeof cohortMember>;

/** A joining actor, to both servers. `samples` is |D_i|; servers send 0. */
const hello = Type.Object({incarnation: count(), samples: count(), agreement: agreementSchema});
/** A server to a joiner: the door is open. `credit` is how many unanswered steps it may send (main server only). */
const welcome = Type.Object({
	incarnation: count(),
	round: Type.Integer({minimum: -1}),
	adapterVersion: count(),
	credit: count(1024),
});
/** A refusal that names field and fix; `verb` is what was refused. */
const refused = Type.Object({
	verb: text,
	code: Type.Union([
		Type.Literal('mismatch'),
		Type.Literal('invalid'),
		/** It could not be read at all: the sender's next repeat of it may be whole. */
		Type.Literal('damaged'),
		Type.Literal('fenced'),
		Type.Literal('id-in-use'),
		Type.Literal('already-applied'),
		Type.Literal('not-in-cohort'),
	]),
	field: text,
	found: text,
	expected: text,
	fix: text,
});
/** The fed server to all: a round begins. Tensors: the global client adapter of version `adapterVersion`. */
const roundOpened = Type.Object({
	round: count(),
	adapterVersion: count(),
	/** I: steps every client of the cohort takes. */
	steps: Type.Integer({minimum: 1}),
	cohort: Type.Array(cohortMember, {maxItems: 100_000}),
	/** When the round closes at the latest, ms of run time; 0 = no deadline. */
	deadlineMs: Type.Number({minimum: 0}),
	tensors,
});
/** The fed server to all, at a round's deadline: upload what you have. */
const roundClosing = Type.Object({round: count()});
/** The fed server to all: who is here. */
const rosterChanged = Type.Object({
	clients: Type.Array(id, {maxItems: 100_000}),
	left: Type.Array(id, {maxItems: 100_000}),
	reason: text,
});
/**
A client to the main server, once a step. Tensors: `activations` `[tokens, hidden]`, `targetPositions` i32 `[targets]`
(packed row whose next token is predicted) and `labels` i32 `[targets]`; the first alone where labels stay with the client.
*/
const activations = Type.Object({
	incarnation: count(),
	round: count(),
	step: count(),
	/** Tokens of each row of the batch; their sum is the first extent of `activations`. */
	lengths,
	targets: count(),
	/** The last server version this client saw. */
	serverVersionSeen: count(),
	tensors,
});
/** The main server to a client that has the labels. Tensors: `activations` `[tokens, hidden]` behind the server's last block. */
const tailOutput = Type.Object({incarnation: count(), round: count(), step: count(), tensors});
/** The client's answer. Tensors: `gradient` `[tokens, hidden]` of its own mean loss at what it got. */
const tailGradient = Type.Object({incarnation: count(), round: count(), step: count(), loss: finite, tensors});
/** The main server to a client. Tensors: `gradient` `[tokens, hidden]`, of the client's own mean loss. */
const gradient = Type.Object({
	incarnation: count(),
	round: count(),
	step: count(),
	loss: finite,
	targets: count(),
	serverVersion: count(),
	serverStaleness: count(),
	tensors,
});
/** The main server to a client that missed a step: keep the batch and go on with `next`. */
const stepSkipped = Type.Object({round: count(), step: count(), next: count()});
/** A client to the fed server at a round's end. Tensors: its adapter. */
const upload = Type.Object({
	incarnation: count(),
	round: count(),
	/** The version the training of this upload began from. */
	adapterVersion: count(),
	stepsDone: count(),
	samples: count(),
	/** Of the round's batches, nats a token; 0 when none was trained on. */
	lossMean: finite,
	lossSquareMean: finite,
	tensors,
});
const uploadAccepted = Type.Object({round: count()});
/** The fed server to the main server once a round has closed, where clients have unlike cuts. */
const sharedBlocksAsked = Type.Object({round: count()});
/** The answer. Tensors: the main server's adapter of the blocks between the smallest and the largest cut. */
const sharedBlocks = Type.Object({round: count(), tensors});
/** A client to the fed server, every third of its lease. */
const heartbeat = Type.Object({incarnation: count(), round: Type.Integer({minimum: -1}), isIdle: Type.Boolean()});
const leave = Type.Object({incarnation: count(), reason: text});
/** The main server to permitted evaluators after a round. Tensors: its adapter. */
const serverAdapter = Type.Object({adapterVersion: count(), serverVersion: count(), tensors});
/** The fed server to all: training is over. Tensors: the final client adapter. */
const runFinished = Type.Object({rounds: count(), adapterVersion: count(), reason: text, tensors});
/** A row for `metrics.jsonl`; the host adds time and bytes. */
const report = Type.Object({
	kind: Type.Union([
		Type.Literal('step'),
		Type.Literal('round'),
		Type.Literal('eval'),
		Type.Literal('drop'),
		Type.Literal('probe'),
	]),
	timeMs: Type.Number({minimum: 0}),
	row: Type.Record(Type.String(), Type.Union([Type.Number(), Type.String(), Type.Boolean(), Type.Null()])),
});

/** The schema of each verb; a verb is the fifth token of a subject. */
export const messageSchemas = {
	hello,
	welcome,
	refused,
	'round-opened': roundOpened,
	'round-closing': roundClosing,
	'roster-changed': rosterChanged,
	activations,
	'tail-output': tailOutput,
	'tail-gradient': tailGradient,
	gradient,
	'step-skipped': stepSkipped,
	upload,
	'upload-accepted': uploadAccepted,
	'shared-blocks-asked': sharedBlocksAsked,
	'shared-blocks': sharedBlocks,
	heartbeat,
	leave,
	'server-adapter': serverAdapter,
	'run-finished': runFinished,
	report,
	...runMessageSchemas(agreementSchema),
} satisfies Record<string, TSchema>;

export type Verb = keyof typeof messageSchemas;
export type Body<V extends Verb> = Static<(typeof messageSchemas)[V]>;

/** Which kind may send a verb, and whether it goes to one receiver (`to`), to all, or either. */
export const messageRoutes: Record<
	Verb,
	{readonly from: readonly SenderKind[]; readonly reach: 'one' | 'all' | 'either'}
> = {
	hello: {from: ['client', 'main-server'], reach: 'all'},
	welcome: {from: ['fed-server', 'main-server'], reach: 'one'},
	refused: {from: ['fed-server', 'main-server'], reach: 'one'},
	'round-opened': {from: ['fed-server'], reach: 'either'},
	'round-closing': {from: ['fed-server'], reach: 'all'},
	'roster-changed': {from: ['fed-server'], reach: 'all'},
	activations: {from: ['client'], reach: 'one'},
	'tail-output': {from: ['main-server'], reach: 'one'},
	'tail-gradient': {from: ['client'], reach: 'one'},
	gradient: {from: ['main-server'], reach: 'one'},
	'step-skipped': {from: ['main-server'], reach: 'one'},
	upload: {from: ['client'], reach: 'one'},
	'upload-accepted': {from: ['fed-server'], reach: 'one'},
	'shared-blocks-asked': {from: ['fed-server'], reach: 'one'},
	'shared-blocks': {from: ['main-server'], reach: 'one'},
	heartbeat: {from: ['client', 'main-server'], reach: 'one'},
	leave: {from: ['client'], reach: 'all'},
	'server-adapter': {from: ['main-server'], reach: 'all'},
	'run-finished': {from: ['fed-server'], reach: 'either'},
	report: {from: ['client', 'main-server', 'fed-server', 'evaluator', 'observer'], reach: 'all'},
	...runMessageRoutes,
};
