/**
The subjects of the bus: who speaks is part of the name, so that plain NATS permissions keep one client from speaking for another.
`cutlayer.v1.<run>.<kind>.<id>.<verb>` is a broadcast; one more token names the only receiver.
*/
import {CutlayerError} from './errors.ts';

/** What kind of actor sends. */
export type SenderKind =
	| 'client'
	| 'main-server'
	| 'fed-server'
	| 'observer'
	| 'evaluator'
	| 'standby'
	| 'conductor'
	| 'host';

/** A subject in its parts; `kind` and `id` are the sender's, `to` the receiver's id. */
export type Subject = {
	readonly run: string;
	readonly kind: SenderKind;
	readonly id: string;
	readonly verb: string;
	readonly to?: string;
};

/** Which subjects to hear. A part left out matches anything; `to` left out means broadcasts only. */
export type SubjectPattern = Partial<Subject>;

const root = 'cutlayer.v1';
const idPattern = /^[a-z0-9-]{1,64}$/;

/** Whose subjects each kind hears; an observer hears all of its run. */
const heardBy: Record<Exclude<SenderKind, 'observer'>, readonly SenderKind[]> = {
	client: ['fed-server', 'main-server', 'conductor'],
	'main-server': ['client', 'fed-server', 'standby', 'conductor'],
	'fed-server': ['client', 'main-server', 'observer', 'evaluator', 'standby', 'conductor'],
	evaluator: ['fed-server', 'main-server', 'conductor'],
	standby: ['client', 'fed-server', 'main-server', 'conductor'],
	conductor: ['client', 'main-server', 'fed-server', 'observer', 'evaluator', 'standby', 'host'],
	host: ['conductor', 'host'],
};

/**
The broadcasts that training actors take, by who sends them: the rest, such as the reports of a fleet, they never get. A kind or
sender left out hears every broadcast of the kinds it hears.
*/
const broadcastsTaken: Partial<Record<SenderKind, Partial<Record<SenderKind, readonly string[]>>>> = {
	client: {'fed-server': ['round-opened', 'round-closing', 'run-finished'], 'main-server': [], conductor: []},
	'main-server': {
		client: ['hello', 'leave'],
		'fed-server': ['round-opened', 'roster-changed', 'run-finished'],
		conductor: [],
	},
	'fed-server': {client: ['hello', 'leave'], 'main-server': ['hello'], evaluator: [], observer: [], conductor: []},
	evaluator: {'fed-server': ['round-opened', 'run-finished'], 'main-server': ['server-adapter'], conductor: []},
};

const senderKinds: ReadonlySet<string> = new Set<string>([...Object.keys(heardBy), 'observer']);

/** The kind that a token of a subject names, if it is one. */
export const kindOf = (text: string | undefined): SenderKind | undefined =>
	text !== undefined && senderKinds.has(text) ? (text as SenderKind) : undefined;

/** Whether a text may stand for a run, an actor or a verb: 1 to 64 of `a-z`, `0-9` and `-`. */
export const isId = (text: string): boolean => idPattern.test(text);

/** The id itself; throws `usage` when it could not be a token of a subject. */
export function checkId(text: string, what = 'id'): string {
	if (isId(text)) return text;
	throw new CutlayerError(
		'usage',
		`Expected the ${what} to be 1 to 64 characters of a-z, 0-9 and -, found ${JSON.stringify(text.slice(0, 80))}; choose another ${what}`,
	);
}

/** The subject as text; throws `usage` when a part is not an id. */
export function subjectOf({run, kind, id, verb, to}: Subject): string {
	const parts = [checkId(run, 'run id'), checkId(kind, 'kind'), checkId(id, 'sender id'), checkId(verb, 'verb')];
	if (to !== undefined) parts.push(checkId(to, 'receiver id'));
	return `${root}.${parts.join('.')}`;
}

/** Subjects read lately: an actor uses few, each of them often. */
const lately = new Map<string, Subject>();
const latelyMax = 1 << 17;

/** The parts of a subject, or `undefined` when it is not one of ours. */
export function parseSubject(text: string): Subject | undefined {
	const known = lately.get(text);
	if (known) return known;
	const parsed = parsedSubject(text);
	if (!parsed) return undefined;
	if (lately.size >= latelyMax) lately.clear();
	lately.set(text, Object.freeze(parsed));
	return parsed;
}

function parsedSubject(text: string): Subject | undefined {
	if (!text.startsWith(`${root}.`) || text.length > 400) return undefined;
	const [run, kind, id, verb, to, ...rest] = text.slice(root.length + 1).split('.');
	if (run === undefined || kind === undefined || id === undefined || verb === undefined || rest.length > 0)
		return undefined;
	if (!senderKinds.has(kind) || ![run, id, verb, to ?? verb].every(isId)) return undefined;
	return {run, kind: kind as SenderKind, id, verb, ...(to !== undefined && {to})};
}

/** A NATS pattern for subjects of these parts; throws `usage` when a part is not an id. */
export function patternOf({run, kind, id, verb, to}: SubjectPattern): string {
	const token = (part: string | undefined) => (part === undefined ? '*' : checkId(part));
	const tokens = [token(run), token(kind), token(id), token(verb)];
	if (to !== undefined) tokens.push(token(to));
	return `${root}.${tokens.join('.')}`;
}

/** Everything an actor subscribes to: the broadcasts that it takes, and what the kinds it hears send to its id. */
export function patternsFor(kind: SenderKind, run: string, id: string): readonly string[] {
	if (kind === 'observer') return [`${root}.${checkId(run, 'run id')}.>`];
	return heardBy[kind].flatMap(sender => [
		...(broadcastsTaken[kind]?.[sender] ?? [undefined]).map(verb =>
			patternOf({run, kind: sender, ...(verb && {verb})}),
		),
		patternOf({run, kind: sender, to: id}),
	]);
}

/** The only subjects an actor may publish to: those that carry its own kind and id. */
export function publishPatternFor(kind: SenderKind, run: string, id: string): string {
	return `${root}.${checkId(run, 'run id')}.${kind}.${checkId(id)}.>`;
}

/** Whether a subject matches a pattern by the rules of NATS: `*` is one token, `>` at the end is one or more. */
export function subjectMatches(pattern: string, subject: string): boolean {
	let at = 0; // in the pattern
	let from = 0; // in the subject
	for (;;) {
		const patternEnd = endOfToken(pattern, at);
		if (from > subject.length) return false;
		if (patternEnd - at === 1 && pattern[at] === '>' && patternEnd === pattern.length) return from < subject.length;
		const subjectEnd = endOfToken(subject, from);
		const isAny = patternEnd - at === 1 && pattern[at] === '*';
		if (isAny ? subjectEnd === from : pattern.slice(at, patternEnd) !== subject.slice(from, subjectEnd)) return false;
		at = patternEnd + 1;
		from = subjectEnd + 1;
		if (at > pattern.length) return from > subject.length;
	}
}

function endOfToken(text: string, from: number): number {
	const dot = text.indexOf('.', from);
	return dot === -1 ? text.length : dot;
}
