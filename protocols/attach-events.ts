/**
Who comes into a simulated run from outside while it is under way: the scenario's section `attach`, and the first contradiction
in it. A live run is joined with `cutlayer attach` instead.
*/
import Type, {type Static, type TSchema} from 'typebox';

const section = <P extends Record<string, TSchema>>(properties: P) =>
	Type.Object(properties, {additionalProperties: false});
const id = Type.String({pattern: '^[a-z0-9-]{1,64}$', description: 'an id that nobody has'});
/** Virtual milliseconds after the begin. */
const atMs = Type.Number({exclusiveMinimum: 0, maximum: 1e12});

export const attachSchema = Type.Union([
	/** A client with rows of its own from a file, or one of the run's shards once more. */
	section({
		kind: Type.Literal('client'),
		id,
		atMs,
		shard: Type.Optional(Type.Integer({minimum: 0, maximum: 1e9})),
		data: Type.Optional(Type.String({minLength: 1, description: 'a .csv, .jsonl or .txt file'})),
	}),
	/** Measures the validation loss every so many rounds. */
	section({
		kind: Type.Literal('evaluator'),
		id,
		atMs,
		everyRounds: Type.Integer({minimum: 1, maximum: 1e9, default: 1}),
	}),
]);
export type AttachEvent = Static<typeof attachSchema>;

/** A scenario, as far as it matters here. */
type Attaching = {readonly attach?: readonly AttachEvent[]};
type Situation = Attaching & {readonly clients: number; readonly data: {readonly validationRows: number}};

type Attached<K extends AttachEvent['kind']> = Extract<AttachEvent, {kind: K}>;

/** Those of one kind, in the scenario's order. */
export const attachedOf = <K extends AttachEvent['kind']>({attach = []}: Attaching, kind: K) =>
	attach.filter((event): event is Attached<K> => event.kind === kind);

/** The event that brings this actor; undefined for who is of the run itself. */
export const attachOf = ({attach = []}: Attaching, actor: string): AttachEvent | undefined =>
	attach.find(event => event.id === actor);

/** What is wrong with the events: the path, and a sentence that ends with the fix. */
export function attachProblem(scenario: Situation): {readonly path: string; readonly problem: string} | undefined {
	const {attach = [], clients, data} = scenario;
	const taken = new Set(['fed', 'main', 'evaluator']);
	for (const [index, event] of attach.entries()) {
		const path = `attach.${index}`;
		if (taken.has(event.id) || /^c\d+$/.test(event.id))
			return {path: `${path}.id`, problem: `\`${event.id}\` is an actor of the run already; choose another id`};
		taken.add(event.id);
		if (event.kind === 'evaluator') {
			if (data.validationRows > 0) continue;
			return {path, problem: 'an evaluator needs rows to measure on; set data.validationRows above 0'};
		}
		if ((event.shard === undefined) === (event.data === undefined))
			return {path, problem: 'expected either `shard` or `data`, the rows it trains on; give one of them'};
		if (event.shard !== undefined && event.shard >= clients)
			return {path: `${path}.shard`, problem: `expected 0 to ${clients - 1}, got ${event.shard}; the run has so many`};
	}
	return undefined;
}
