/**
The messages around a run: who asks which runs there are, what a run's conductor answers, and how a running run is changed.
None of them carries tensors; training needs none of them.
*/
import Type, {type TSchema} from 'typebox';
import type {SenderKind} from './subjects.ts';

const text = Type.String({maxLength: 2000});
const id = Type.String({pattern: '^[a-z0-9-]{1,64}$'});
const count = Type.Integer({minimum: 0, maximum: Number.MAX_SAFE_INTEGER});

/** What a control asks for. */
export const controlCommands = ['pause', 'resume', 'kill', 'slow', 'drop', 'policy', 'wire', 'evaluate'] as const;
export type ControlCommand = (typeof controlCommands)[number];

/** The schemas by verb; `agreement` is that of a `hello`. */
export const runMessageSchemas = <A extends TSchema>(agreement: A) => ({
	/** Who is there? To one run, or to all of a broker. */
	'ask-runs': Type.Object({}),
	/** The conductor's answer. */
	'run-announced': Type.Object({
		/** The resolved scenario as JSON. */
		scenario: Type.String({maxLength: 1 << 20}),
		agreement,
		ageMs: Type.Number({minimum: 0}),
		round: Type.Integer({minimum: -1}),
		/** Clients, with the incarnation each is in. */
		members: Type.Array(Type.Object({client: id, incarnation: count}), {maxItems: 100_000}),
		/** Incarnations of clients that left. */
		left: Type.Array(Type.Object({client: id, incarnation: count}), {maxItems: 100_000}),
		/** Every server of the run is there. */
		isReady: Type.Boolean(),
		isPaused: Type.Boolean(),
		isOver: Type.Boolean(),
	}),
	/** Somebody changes the run. */
	control: Type.Object({
		command: Type.Unsafe<ControlCommand>(Type.Union(controlCommands.map(command => Type.Literal(command)))),
		/** The actor concerned; empty for the run as a whole. */
		actor: Type.String({pattern: '^[a-z0-9-]{0,64}$'}),
		/** Milliseconds for `slow`, `path=value` for `policy` and `wire`, otherwise empty. */
		value: text,
	}),
	controlled: Type.Object({isDone: Type.Boolean(), text}),
	/** The conductor ends a client's membership: it leaves. */
	dismissed: Type.Object({reason: text}),
});

type Route = {readonly from: readonly SenderKind[]; readonly reach: 'one' | 'all' | 'either'};

export const runMessageRoutes = {
	'ask-runs': {from: ['client', 'main-server', 'evaluator', 'observer', 'conductor'], reach: 'all'},
	'run-announced': {from: ['conductor'], reach: 'one'},
	control: {from: ['conductor', 'evaluator'], reach: 'one'},
	controlled: {from: ['conductor'], reach: 'one'},
	dismissed: {from: ['conductor'], reach: 'one'},
} as const satisfies Record<string, Route>;

/** What processes say to each other about a run: no machine hears it. */
export const hostVerbs: ReadonlySet<string> = new Set(['ask-runs', 'run-announced', 'control', 'controlled']);

/** The run's place in a subject that means every run of a broker. */
export const anyRun = 'all';
/** The id of a run's own conductor. */
export const conductorId = 'conductor';
