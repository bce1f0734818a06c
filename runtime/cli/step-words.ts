/**
The words of `cutlayer replay --step`: what a line asks for, or one sentence about what is wrong with it. Pure.
*/
import {closest} from 'fastest-levenshtein';
import type {Sought} from '../replay/stepper.ts';
import type {TraceRecord} from '../trace/format.ts';
import {commandsOf} from '../trace/trace.ts';
import {stateName, verbsOf} from '../trace/words.ts';

/** A condition that `continue` stops at. */
export type Break = {readonly text: string; readonly isSought: Sought};

export type Word =
	| {readonly word: 'next' | 'previous'; readonly count: number}
	/** `isOnward`: the next such record, in place of the trace's first. */
	| {readonly word: 'to'; readonly target: string; readonly isSought: Sought; readonly isOnward?: boolean}
	| {readonly word: 'break'; readonly added: Break}
	| {
			readonly word:
				| 'breaks'
				| 'clear'
				| 'continue'
				| 'back'
				| 'causes'
				| 'effects'
				| 'tensors'
				| 'where'
				| 'help'
				| 'quit';
	  }
	| {readonly word: 'state' | 'inbox'; readonly actor: string | undefined}
	| {readonly word: 'context'; readonly actor: string | undefined; readonly path: string}
	| {readonly word: 'nothing'}
	| {readonly word: 'wrong'; readonly text: string};

/** What `help` prints. */
export const stepHelp = `
  next [n], previous [n]        one record on or back, or n          (n, p)
  to 41                         record 41
  to c1:0:7                     the record in which that message was sent
  to state NAME                 the next record after which an actor is in a state with this name
  to step CLIENT ROUND STEP     where the client's batch was sent
  break state NAME | verb NAME | client ID | loss ABOVE
  continue, back                on to the next such record, or back to the last   (c, b)
  breaks, clear                 show them, remove them
  where                         the record it stands at
  state [ACTOR], context [ACTOR] [PATH], inbox [ACTOR]       of the record's own actor by default
  causes, effects               of the record, back to the start and onwards
  tensors                       shapes and digests; mean, norm and histogram where the values were kept (--trace full),
                                else the norm of an adapter that was sent
  quit                                                               (q)
`;

const short: Readonly<Record<string, string>> = {
	n: 'next',
	p: 'previous',
	c: 'continue',
	b: 'back',
	q: 'quit',
	'?': 'help',
};
const plain = ['breaks', 'clear', 'continue', 'back', 'causes', 'effects', 'tensors', 'where', 'help', 'quit'] as const;
const known = ['next', 'previous', 'to', 'break', 'state', 'context', 'inbox', ...plain];

/** Whole words that a line may go on as. */
export function completionsOf(line: string): string[] {
	const kinds = ['state', 'verb', 'client', 'loss'].map(kind => `break ${kind} `);
	const targets = ['to state ', 'to step '];
	return [...known, ...kinds, ...targets].filter(word => word.startsWith(line) && word !== line);
}

const wrong = (text: string): Word => ({word: 'wrong', text});
const isPlain = (word: string): word is (typeof plain)[number] => (plain as readonly string[]).includes(word);

/** Reads one line. */
export function wordOf(line: string): Word {
	const [first = '', ...rest] = line.trim().split(/\s+/);
	const word = short[first] ?? first;
	if (word === '') return {word: 'nothing'};
	if (isPlain(word)) return {word};
	switch (word) {
		case 'next':
		case 'previous':
			return countWord(word, rest[0] ?? '1');
		case 'to':
			return toWord(rest);
		case 'break':
			return breakWord(rest);
		case 'state':
		case 'inbox':
			return {word, actor: rest[0]};
		case 'context':
			return {word, actor: rest[0], path: rest[1] ?? ''};
		default:
			return wrong(`There is no ${word}; did you mean ${closest(word, known)}? help lists what there is`);
	}
}

function countWord(word: 'next' | 'previous', text: string): Word {
	if (/^[1-9]\d{0,8}$/.test(text)) return {word, count: Number(text)};
	return wrong(`Expected a number of records after ${word}, got ${text}; write for example ${word} 10`);
}

function toWord([first = '', ...rest]: readonly string[]): Word {
	if (/^\d+$/.test(first)) return {word: 'to', target: `record ${first}`, isSought: ({n}) => n === Number(first)};
	if (/^[a-z0-9-]+:\d+:\d+$/.test(first)) return {word: 'to', target: `message ${first}`, isSought: sends(first)};
	if (first === 'state' && rest[0])
		return {word: 'to', target: `state ${rest[0]}`, isSought: enters(rest[0]), isOnward: true};
	const [client, round, step] = rest;
	if (first === 'step' && client && isCount(round) && isCount(step)) {
		return {
			word: 'to',
			target: `round ${round} step ${step} of ${client}`,
			isSought: sendsStep(client, Number(round), Number(step)),
		};
	}
	return wrong(
		'Expected to RECORD, to MESSAGE-ID, to state NAME or to step CLIENT ROUND STEP; write for example to 41',
	);
}

const isCount = (text: string | undefined): text is string => text !== undefined && /^\d+$/.test(text);

function breakWord([kind = '', value]: readonly string[]): Word {
	const isSought = value === undefined ? undefined : breakOf(kind, value);
	if (isSought) return {word: 'break', added: {text: `${kind} ${value}`, isSought}};
	return wrong('Expected break state NAME, verb NAME, client ID or loss ABOVE; write for example break loss 4');
}

function breakOf(kind: string, value: string): Sought | undefined {
	if (kind === 'state') return enters(value);
	if (kind === 'verb') return record => verbsOf(record).includes(value);
	if (kind === 'client') return record => isAbout(record, value);
	const above = Number(value);
	return kind === 'loss' && Number.isFinite(above) ? record => lossesIn(record).some(loss => loss > above) : undefined;
}

const sends =
	(id: string): Sought =>
	record =>
		commandsOf(record).some(command => 'send' in command && command.id === id);

const sendsStep =
	(client: string, round: number, step: number): Sought =>
	record =>
		'actor' in record &&
		record.actor === client &&
		commandsOf(record).some(command => {
			if (!('send' in command) || command.send !== 'activations') return false;
			const body = command.body as {round?: unknown; step?: unknown} | null;
			return body?.round === round && body.step === step;
		});

const enters =
	(name: string): Sought =>
	record =>
		'state' in record && record.state !== undefined && stateName(record.state).split(/[.+]/).includes(name);

const isAbout = (record: TraceRecord, client: string): boolean =>
	('actor' in record && record.actor === client) ||
	(record.kind === 'input' && record.event.from === client) ||
	commandsOf(record).some(command => 'send' in command && command.to === client);

/** The losses a record brings: a message's, a finished pass's, or those of a step's batches. */
export function lossesIn(record: TraceRecord): number[] {
	if (record.kind !== 'input') return [];
	const {loss, losses} = (record.event.body ?? record.event) as {loss?: unknown; losses?: unknown};
	return [loss, ...(Array.isArray(losses) ? losses : [])].filter(value => typeof value === 'number');
}
