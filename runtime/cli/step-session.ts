/**
`cutlayer replay --step`: a session over a trace, line by line from a terminal or a pipe. It changes nothing.
*/
import {dirname, join} from 'node:path';
import {createInterface} from 'node:readline';
import {f32View, i32View, type Tensor} from '../../protocols/tensor.ts';
import {fromWireFormat} from '../../protocols/wire-formats.ts';
import {type Stepped, Stepper} from '../replay/stepper.ts';
import type {Digests} from '../trace/format.ts';
import {figuresOf} from '../trace/tensor-figures.ts';
import {readTensor} from '../trace/tensors.ts';
import {commandsOf, type Trace} from '../trace/trace.ts';
import {lineOf, stateName} from '../trace/words.ts';
import {type Break, completionsOf, stepHelp, type Word, wordOf} from './step-words.ts';

export type SessionOptions = {
	readonly trace: Trace;
	readonly actor?: string | undefined;
	readonly input: NodeJS.ReadableStream;
	readonly print: (text: string) => void;
	/** The terminal that lines are edited on, with those before at the arrow keys and words completed; default none, for a pipe. */
	readonly terminal?: NodeJS.WritableStream | undefined;
};

const prompt = '> ';

/** Ends at `quit` or at the input's end. Resolves to the number of records seen that are not as recorded. */
export async function stepThrough(options: SessionOptions): Promise<number> {
	const session = new Session(options);
	const {input, terminal, print} = options;
	const lines = createInterface(
		terminal
			? {input, output: terminal, terminal: true, prompt, historySize: 1000, removeHistoryDuplicates: true, completer}
			: {input, terminal: false},
	);
	print(`${lineCount(options)}help lists what can be asked\n`);
	try {
		if (terminal) lines.prompt();
		for await (const line of lines) {
			if (!(await session.take(wordOf(line)))) break;
			if (terminal) lines.prompt();
		}
		return session.differences;
	} finally {
		lines.close();
		await session.close();
	}
}

const completer = (line: string): [string[], string] => [completionsOf(line), line];

const lineCount = ({trace, actor}: SessionOptions) =>
	`${trace.folder}: level ${trace.streams[0]!.header.level}, ${actor === undefined ? 'all actors' : `only ${actor}`}\n`;

class Session {
	readonly #options: SessionOptions;
	readonly #stepper: Stepper;
	#breaks: readonly Break[] = [];
	#different = new Set<string>();

	constructor(options: SessionOptions) {
		this.#options = options;
		this.#stepper = new Stepper(options.trace, {actor: options.actor});
	}

	get differences(): number {
		return this.#different.size;
	}

	close(): Promise<void> {
		return this.#stepper.stop();
	}

	/** False when the session is over. */
	async take(word: Word): Promise<boolean> {
		switch (word.word) {
			case 'quit':
				return false;
			case 'next':
			case 'previous':
				await this.#move(word.word, word.count);
				break;
			case 'to':
				await this.#go(word);
				break;
			case 'continue':
			case 'back':
				await this.#run(word.word);
				break;
			case 'break':
				this.#breaks = [...this.#breaks, word.added];
				this.#say(`stops at ${this.#breaks.map(({text}) => text).join(', ')}`);
				break;
			default:
				await this.#show(word);
		}
		return true;
	}

	async #show(word: Word): Promise<void> {
		switch (word.word) {
			case 'breaks':
				return this.#say(this.#breaks.map(({text}) => text).join('\n') || 'no breaks; add one with break loss 4');
			case 'clear':
				this.#breaks = [];
				return this.#say('no breaks');
			case 'where':
				return this.#arrive(this.#stepper.last, '');
			case 'state':
				return this.#withActor(word.actor, (id, {state}) => `${id}: ${stateName(state)}`);
			case 'context':
				return this.#withActor(word.actor, (_, {context}) => JSON.stringify(memberOf(context, word.path), null, 2));
			case 'inbox':
				return this.#withActor(word.actor, id => this.#inboxText(id));
			case 'causes':
			case 'effects':
				return this.#chain(word.word);
			case 'tensors':
				return this.#tensors();
			case 'help':
				return this.#options.print(stepHelp);
			case 'wrong':
				return this.#say(word.text);
			default:
		}
	}

	async #move(direction: 'next' | 'previous', count: number): Promise<void> {
		for (let done = 0; done < count; done++) {
			const stepped = await this.#stepper[direction]();
			this.#arrive(stepped, direction === 'next' ? 'The trace ends here' : 'This is the first record');
			if (!stepped) return;
		}
	}

	async #go({isOnward, isSought, target}: Extract<Word, {word: 'to'}>): Promise<void> {
		const stepped = await (isOnward ? this.#stepper.forward(isSought) : this.#stepper.to(isSought));
		this.#arrive(stepped, `There is no ${target} ${isOnward ? 'after this record' : 'in this trace'}`);
	}

	async #run(direction: 'continue' | 'back'): Promise<void> {
		if (this.#breaks.length === 0) return this.#say('There are no breaks to stop at; add one with break loss 4');
		const isSought = (record: Stepped['located']['record']) => this.#breaks.some(one => one.isSought(record));
		const stepped = await this.#stepper[direction === 'continue' ? 'forward' : 'back'](isSought);
		this.#arrive(stepped, `No record ${direction === 'continue' ? 'after' : 'before'} this one is sought`);
	}

	#arrive(stepped: Stepped | undefined, otherwise: string): void {
		if (!stepped) this.#say(otherwise || 'before the first record; next begins');
		else this.#tell(stepped);
	}

	#tell({located, difference}: Stepped): void {
		const label = this.#options.trace.label(located);
		this.#say(lineOf(located.record, label));
		if (!difference) return;
		this.#different.add(label);
		this.#say(`  DIVERGES in ${difference.what}`);
		this.#say(`  recorded: ${JSON.stringify(difference.recorded) ?? 'nothing'}`);
		this.#say(`  replayed: ${JSON.stringify(difference.replayed) ?? 'nothing'}`);
	}

	#withActor(
		asked: string | undefined,
		textOf: (id: string, actor: {readonly state: unknown; readonly context: unknown}) => string,
	): void {
		const record = this.#stepper.last?.located.record;
		const id = asked ?? (record && 'actor' in record ? record.actor : undefined);
		const actor = id === undefined ? undefined : this.#stepper.actor(id);
		const started = this.#stepper.actors.join(', ') || 'none';
		if (id === undefined) this.#say('No actor here; name one, or go on with next');
		else this.#say(actor ? textOf(id, actor) : `${id} has not started here; started are: ${started}`);
	}

	#inboxText(id: string): string {
		const lines = this.#stepper
			.unread(id)
			.map(
				({id: message, verb, from, n, t}) =>
					`${message.padEnd(14)} ${verb} from ${from}, sent in record ${n} at ${t.toFixed(3)} ms`,
			);
		const note =
			this.#options.actor === undefined ? '' : ' (of the records replayed here; leave out --actor to see all)';
		return lines.length > 0 ? lines.join('\n') : `nothing on its way to ${id}${note}`;
	}

	async #chain(which: 'causes' | 'effects'): Promise<void> {
		const {trace} = this.#options;
		const located = this.#stepper.last?.located;
		if (!located) return this.#say('before the first record; next begins');
		const chain = which === 'causes' ? await trace.causesOf(located) : await trace.effectsOf(located);
		const none =
			which === 'causes' ? 'nothing caused it: it is a start or a word of the host' : 'nothing followed from it';
		this.#say(chain.map(one => lineOf(one.record, trace.label(one))).join('\n') || none);
	}

	async #tensors(): Promise<void> {
		const record = this.#stepper.last?.located.record;
		const own = record && 'tensors' in record ? record.tensors : undefined;
		const sent = record ? commandsOf(record).map(command => ('send' in command ? command.tensors : undefined)) : [];
		// What came in and is handed on is shown once.
		const named = new Map([own, ...sent].flatMap(digests => namedDigests(digests ?? {}).map(one => [one.join(), one])));
		if (named.size === 0) return this.#say('no tensors in this record');
		const {stream} = this.#stepper.last!.located;
		const folder = join(dirname(stream.path), 'tensors');
		const isFull = stream.header.level === 'full';
		for (const [name, digest] of named.values()) {
			this.#say(`${name}: ${digest}`);
			if (!isFull) continue;
			const tensor = await readTensor(folder, digest);
			this.#say(tensor ? figuresText(tensor) : '  its values were evicted');
		}
		const norm = await this.#norm();
		const recorded =
			norm === undefined
				? 'no norm either: only messages that carry an adapter have one'
				: `the norm of all together is ${norm.toPrecision(6)}, which was recorded`;
		if (!isFull)
			this.#say(`their values are not in a trace of level digest, record one with --trace full; ${recorded}`);
	}

	/** The norm of the adapter that the record sent or got. */
	async #norm(): Promise<number | undefined> {
		const {located} = this.#stepper.last!;
		const {record} = located;
		const message = record.kind === 'input' ? record.message : undefined;
		const cause = message === undefined ? undefined : await this.#options.trace.causeOf(located);
		const sent = cause
			? commandsOf(cause.record).filter(one => 'send' in one && one.id === message)
			: commandsOf(record);
		return sent.flatMap(command => ('send' in command && command.norm !== undefined ? [command.norm] : []))[0];
	}

	#say(text: string): void {
		this.#options.print(`${text}\n`);
	}
}

const namedDigests = (digests: Digests): [string, string][] =>
	Object.values(digests).flatMap(tensors => Object.entries(tensors));

/** `inbox.c1.step` of a context. */
function memberOf(context: unknown, path: string): unknown {
	const keys = path === '' ? [] : path.split('.');
	const found = keys.reduce<unknown>((inner, key) => (inner as Record<string, unknown> | undefined)?.[key], context);
	return found === undefined ? `nothing at ${path}` : found;
}

function figuresText(tensor: Tensor): string {
	const values = tensor.dtype === 'i32' ? i32View(tensor) : f32View(fromWireFormat(tensor));
	const {mean, deviation, norm, least, largest, histogram, notFinite} = figuresOf(values);
	const most = Math.max(...histogram, 1);
	const bars = histogram.map(count => '▁▂▃▄▅▆▇█'[Math.round((7 * count) / most)]).join('');
	const numbers = {mean, deviation, norm, least, largest};
	const text = Object.entries(numbers).map(([name, value]) => `${name} ${value.toPrecision(6)}`);
	return `  ${text.join(', ')}  ${bars}${notFinite > 0 ? `  ${notFinite} not finite` : ''}`;
}
