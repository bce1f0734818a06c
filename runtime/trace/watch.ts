/**
Turns what a host says of one actor into records: everything that follows from one input is one record.
It reads the host and changes nothing.
*/
import type {FrameProblem} from '../../protocols/envelope.ts';
import type {Outgoing} from '../../protocols/events.ts';
import type {NamedTensors, TensorHandle} from '../../protocols/tensor.ts';
import {type Command, type Digests, type Outcome, type TraceEvent, wholeInterval} from './format.ts';
import {carriesAdapter, normOf} from './norms.ts';
import {isSame, patchOf} from './patch.ts';
import {digestOf} from './tensors.ts';
import type {Unnumbered} from './write.ts';

/** A host as far as a recorder reads it. */
export type RecordedHost = {
	readonly id: string;
	readonly kind: string;
	readonly incarnation: number;
	readonly state: unknown;
	readonly context: unknown;
	tensors(handle: TensorHandle): NamedTensors;
};

export type RecordedStart = ({readonly input: object} | {readonly snapshot: unknown}) & {
	readonly sequence: number;
	readonly tensors: readonly (readonly [string, NamedTensors])[];
};

/** What the watchers of one stream share. */
export type Stream = {
	/** Appends a record; its number, or nothing when it was lost. */
	append(record: Unnumbered): number | undefined;
	/** Changes when records were lost: after it every actor's context is recorded whole again. */
	gaps(): number;
	/** The record in which a message was sent, when it was sent in this stream. */
	readonly sent: Recent<string>;
	/** Keeps a tensor of level `full`. */
	keep(digest: string, tensors: NamedTensors[string]): void;
	now(): number;
};

type Open =
	| Omit<Extract<Unnumbered, {kind: 'started'}>, keyof Outcome>
	| Omit<Extract<Unnumbered, {kind: 'input'}>, keyof Outcome>;

/** The last entries put in, up to a number. */
export class Recent<K> {
	readonly #entries = new Map<K, number>();
	readonly #max: number;

	constructor(max: number) {
		this.#max = max;
	}

	set(key: K, value: number): void {
		this.#entries.set(key, value);
		if (this.#entries.size <= this.#max) return;
		for (const oldest of this.#entries.keys()) return void this.#entries.delete(oldest);
	}

	get(key: K): number | undefined {
		return this.#entries.get(key);
	}

	clear(): void {
		this.#entries.clear();
	}
}

const handlesMax = 256;

/** An observer of one host, in the shape that a host calls. */
export class ActorWatch {
	readonly #stream: Stream;
	readonly #digests = new Map<string, Digests[string]>();
	readonly #passes = new Map<string, number>();
	readonly #timers = new Recent<number>(64);
	#host: RecordedHost | undefined;
	#open: Open | undefined;
	#commands: Command[] = [];
	#state: unknown;
	#context: unknown;
	#inputs = 0;
	#gapsSeen = -1;

	constructor(stream: Stream) {
		this.#stream = stream;
	}

	readonly starting = (host: RecordedHost, {sequence, tensors, ...start}: RecordedStart): void => {
		this.#host = host;
		// A new life of an actor numbers its handles and timers from the start.
		this.#digests.clear();
		this.#passes.clear();
		this.#timers.clear();
		const digests = Object.fromEntries(
			tensors.map(([handle, named]) => [handle, this.#digestsOf(handle, () => named)]),
		);
		this.#open = {
			kind: 'started',
			...this.#stamp(),
			role: host.kind,
			incarnation: host.incarnation,
			sequence,
			...start,
			...(tensors.length > 0 && {tensors: digests}),
		};
	};

	readonly input = (event: TraceEvent & {tensors?: unknown}, message?: string, timer?: number): void => {
		const by = message === undefined ? this.#causeOf(event, timer) : this.#stream.sent.get(message);
		const digests = this.#digestsIn(event.tensors, (event.body as {tensors?: unknown} | undefined)?.tensors);
		this.#open = {
			kind: 'input',
			...this.#stamp(),
			event,
			...(message !== undefined && {message}),
			...(timer !== undefined && {timer}),
			...(by !== undefined && {by}),
			...(digests && {tensors: digests}),
		};
	};

	readonly command = ({verb, to, body}: Outgoing, id: string, bytes: number): void => {
		const tensors = 'tensors' in body ? this.#digestsIn(body.tensors) : undefined;
		const norm = 'tensors' in body && carriesAdapter(verb) ? normOf(this.#host!.tensors(body.tensors)) : undefined;
		this.#commands.push({
			send: verb,
			...(to !== undefined && {to}),
			id,
			bytes,
			body,
			...(tensors && {tensors}),
			...(norm !== undefined && {norm}),
		});
	};

	readonly unsent = ({verb, to, body}: Outgoing, {found}: FrameProblem): void => {
		this.#commands.push({unsent: verb, ...(to !== undefined && {to}), body, problem: found});
	};

	readonly passStarted = (pass: string, input: unknown): void => void this.#commands.push({pass, input});

	readonly timerSet = (timer: number, delayMs: number): void => void this.#commands.push({timer, delayMs});

	readonly transition = (): void => {
		if (this.#open) this.#close(this.#outcome());
	};

	readonly dropped = ({code, field, found, expected}: FrameProblem, from: string): void => {
		// A message of its own that could not be sent is a command of the step under way.
		if (this.#open) return;
		const commands = this.#takeCommands();
		const n = this.#stream.append({kind: 'dropped', ...this.#stamp(), from, code, field, found, expected, ...commands});
		this.#remember(n, commands.commands);
	};

	readonly done = (failure: string | null, isThrown: boolean): void => {
		if (this.#open) this.#close({thrown: failure ?? ''});
		this.#stream.append({kind: 'ended', ...this.#stamp(), failure, isThrown});
	};

	#stamp() {
		return {t: this.#stream.now(), actor: this.#host?.id ?? ''};
	}

	/** A pass's result follows from its last start: leaving the state drops the results of earlier ones. */
	#causeOf(event: TraceEvent & {pass?: unknown}, timer: number | undefined): number | undefined {
		if (timer !== undefined) return this.#timers.get(timer);
		const pass = event.type === 'pass.failed' ? event.pass : event.type.replace(/\.done$/, '');
		return this.#passes.get(String(pass));
	}

	#outcome(): Outcome {
		const {state, context} = this.#host!;
		const gaps = this.#stream.gaps();
		const isWhole = this.#open!.kind === 'started' || this.#inputs % wholeInterval === 0 || this.#gapsSeen !== gaps;
		this.#gapsSeen = gaps;
		this.#inputs++;
		const patch = isWhole ? [] : patchOf(this.#context, context);
		const isStateNew = isWhole || !isSame(state, this.#state);
		this.#state = state;
		this.#context = context;
		return {...(isStateNew && {state}), ...(patch.length > 0 && {patch}), ...(isWhole && {context})};
	}

	#close(outcome: Outcome): void {
		const commands = this.#takeCommands();
		const n = this.#stream.append({...this.#open!, ...outcome, ...commands} as Unnumbered);
		this.#open = undefined;
		this.#remember(n, commands.commands);
	}

	#takeCommands(): {commands?: Command[]} {
		if (this.#commands.length === 0) return {};
		const commands = this.#commands;
		this.#commands = [];
		return {commands};
	}

	#remember(n: number | undefined, commands: readonly Command[] = []): void {
		if (n === undefined) return;
		for (const command of commands) {
			if ('send' in command) this.#stream.sent.set(command.id, n);
			else if ('pass' in command) this.#passes.set(command.pass, n);
			else if ('timer' in command) this.#timers.set(command.timer, n);
		}
	}

	/** Digests of every handle in the values; nothing when there is none. */
	#digestsIn(...values: readonly unknown[]): Digests | undefined {
		const found: Record<string, Digests[string]> = {};
		const visit = (value: unknown): void => {
			if (typeof value !== 'object' || value === null) return;
			const {handle} = value as Partial<TensorHandle>;
			if (typeof handle !== 'string') for (const inner of Object.values(value)) visit(inner);
			else found[handle] = this.#digestsOf(handle, () => this.#host!.tensors(value as TensorHandle));
		};
		for (const value of values) visit(value);
		return Object.keys(found).length > 0 ? found : undefined;
	}

	#digestsOf(handle: string, tensors: () => NamedTensors): Digests[string] {
		const known = this.#digests.get(handle);
		if (known) return known;
		const digests: Record<string, string> = {};
		for (const [name, tensor] of Object.entries(tensors())) {
			digests[name] = digestOf(tensor);
			this.#stream.keep(digests[name], tensor);
		}
		this.#digests.set(handle, digests);
		if (this.#digests.size > handlesMax)
			for (const oldest of this.#digests.keys()) {
				this.#digests.delete(oldest);
				break;
			}
		return digests;
	}
}
