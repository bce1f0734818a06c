/**
The only place where an actor is created: it turns frames into events, commands into frames and passes into calls of the
compute port. It decides nothing and no message ends it.
*/
import type {AnyStateMachine} from 'xstate';
import {sealFrame} from '../../protocols/codec.ts';
import {type Envelope, type FrameProblem, messageIdOf, parseMessageId, problemText} from '../../protocols/envelope.ts';
import {errorText} from '../../protocols/errors.ts';
import type {HostEvent, Outgoing} from '../../protocols/events.ts';
import type {Bus, Clock, Compute, Frame, PassResult, Unsubscribe} from '../../protocols/ports.ts';
import {receiveFrame} from '../../protocols/receive-frame.ts';
import {hostVerbs} from '../../protocols/run-messages.ts';
import {frameBytes, frameId} from '../../protocols/sealed-frame.ts';
import {parseSubject, patternsFor, type SenderKind, subjectOf} from '../../protocols/subjects.ts';
import type {NamedTensors, TensorHandle} from '../../protocols/tensor.ts';
import type {MachineActor, PassStart} from './machine.ts';
import {createMachineActor} from './machine-actor.ts';
import type {HostObserver, ObservedHost} from './observer.ts';
import type {HeldMessage, Outlet} from './outlet.ts';
import {type PassOverride, startPass} from './pass-actor.ts';
import {TensorStore} from './tensor-store.ts';

export type {HostObserver} from './observer.ts';

export type HostPorts = {readonly bus: Bus; readonly clock: Clock; readonly compute: Compute};

export type ActorOptions = {
	readonly run: string;
	readonly kind: SenderKind;
	readonly id: string;
	readonly incarnation: number;
	readonly machine: AnyStateMachine;
	readonly input: object;
	/** The machine's passes that the compute port carries out, by name. */
	readonly passes: readonly string[];
	/** Passes done otherwise, or prepared before the compute port gets them. */
	readonly overrides?: Readonly<Record<string, PassOverride>>;
	/** What is wrong with a message whose form is right, as only this actor can tell; default nothing. */
	readonly check?: (verb: string, body: unknown, host: ObservedHost, sender: string) => FrameProblem | undefined;
	/** The verb whose events say when they came (`atMs`, ms of run time); default none. */
	readonly stamped?: string;
	readonly ports: HostPorts;
	readonly observer?: HostObserver;
	/** Runs the machine by tables instead of in xstate's own actor; default false. */
	readonly isTabled?: boolean | undefined;
	readonly saved?: SavedActor;
	/** Where messages wait until a checkpoint that contains them is durable; default they leave at once. */
	readonly outlet?: Outlet;
};

/** What a checkpoint keeps of a host and its machine; tensors by handle. */
export type SavedActor = {
	readonly snapshot: unknown;
	readonly sequence: number;
	readonly nextHandle: number;
	readonly tensors: readonly (readonly [string, NamedTensors])[];
	/** Messages that had not left: they leave when it is taken up, with the ids they have. */
	readonly held?: readonly HeldMessage[];
	/** The latest lives of servers it had heard of. */
	readonly lives?: Readonly<Record<string, number>>;
};

type Bytes = {sent: number; received: number};

export class ActorHost implements ObservedHost {
	readonly id: string;
	readonly kind: SenderKind;
	readonly incarnation: number;
	readonly #options: ActorOptions;
	readonly #store: TensorStore;
	readonly #actor: MachineActor;
	#unsubscribes: Unsubscribe[] = [];
	/** What all its subjects begin with. */
	readonly #prefix: string;
	#sequence: number;
	/** The message whose handling is under way: what it causes names it. */
	#cause: string | undefined;
	#bytes: Bytes = {sent: 0, received: 0};
	/** The latest life of each server: what an older one says is not heard. */
	readonly #lives: Map<string, number>;
	/** What came before a durable actor has begun. */
	#early: Frame[] | undefined;

	constructor(options: ActorOptions) {
		this.#options = options;
		this.id = options.id;
		this.kind = options.kind;
		this.incarnation = options.incarnation;
		this.#sequence = options.saved?.sequence ?? 0;
		this.#early = options.outlet ? [] : undefined;
		this.#lives = new Map(Object.entries(options.saved?.lives ?? {}));
		const {run, kind, id, incarnation} = options;
		this.#prefix = subjectOf({run, kind, id, verb: 'hello'}).slice(0, -'.hello'.length);
		messageIdOf({sender: id, incarnation, sequence: this.#sequence});
		this.#store = new TensorStore(options.id);
		if (options.saved) this.#store.restore(options.saved.tensors, options.saved.nextHandle);
		this.#actor = this.#create();
	}

	/** Subscribes and starts the machine; a restored one is told so, after `changed`: values of its input that are others now. */
	async start(changed?: Readonly<Record<string, unknown>>): Promise<void> {
		const {bus} = this.#options.ports;
		// One that goes on from a checkpoint hears that before anything that was said meanwhile.
		const deliver = (frame: Frame) => (this.#early ? void this.#early.push(frame) : this.#deliver(frame));
		for (const pattern of patternsFor(this.kind, this.#options.run, this.id)) {
			this.#unsubscribes.push(bus.subscribe(pattern, deliver));
		}
		await bus.flush();
		const {observer, input, saved} = this.#options;
		const start = saved ? {snapshot: saved.snapshot} : {input};
		observer?.starting?.(this, {...start, sequence: this.#sequence, tensors: saved?.tensors ?? []});
		this.#actor.start();
		if (changed) this.tell({type: 'host.changed', input: changed});
		for (const held of saved?.held ?? []) bus.publish(this.#frameOf(held, parseMessageId(held.messageId)!.incarnation));
		if (this.#options.saved) this.tell({type: 'host.restored'});
		const early = this.#early ?? [];
		this.#early = undefined;
		for (const frame of early) this.#deliver(frame);
		this.#options.outlet?.settled();
	}

	/** An event of the host itself. */
	tell(event: HostEvent): void {
		this.#enter(event, undefined);
	}

	/** True when the machine waits for others and none of its passes is under way. */
	get isQuiet(): boolean {
		return this.#actor.getSnapshot().hasTag('quiet');
	}

	get isDone(): boolean {
		return this.#actor.getSnapshot().status === 'done';
	}

	/** Why the machine gave up; null while it runs or when it ended well. */
	get failure(): string | null {
		return (this.context as {failure: string | null}).failure;
	}

	get context(): unknown {
		return this.#actor.getSnapshot().context;
	}

	get state(): unknown {
		return this.#actor.getSnapshot().value;
	}

	/** Tensors the machine's context names. */
	tensors(handle: TensorHandle): NamedTensors {
		return this.#store.get(handle);
	}

	/** False while the machine goes on from what a pass keeps outside of every checkpoint. */
	get isRepeatable(): boolean {
		return !this.#early && !this.#actor.getSnapshot().hasTag('bound');
	}

	save(): SavedActor {
		this.#store.sweep(() => this.#named, {isForced: true});
		const held = this.#options.outlet?.held ?? [];
		return {
			snapshot: this.#actor.getPersistedSnapshot(),
			sequence: this.#sequence,
			nextHandle: this.#store.next,
			tensors: this.#store.entries(),
			...(held.length > 0 && {held: [...held]}),
			...(this.#lives.size > 0 && {lives: Object.fromEntries(this.#lives)}),
		};
	}

	/** What may name tensors. */
	get #named(): unknown {
		const {outlet} = this.#options;
		return outlet ? [this.context, outlet.held] : this.context;
	}

	/** Leaves the bus and ends the machine and its passes; nothing is sent. */
	stop(): void {
		for (const unsubscribe of this.#unsubscribes) unsubscribe();
		this.#unsubscribes = [];
		this.#actor.stop();
	}

	#create(): MachineActor {
		const {machine, input, ports, id, saved, observer, isTabled} = this.#options;
		return createMachineActor({
			id,
			machine,
			clock: ports.clock,
			isTabled,
			start: saved ? {snapshot: saved.snapshot} : {input},
			startPass: (pass, given) => this.#startPass(pass, given),
			send: message => this.#send(message),
			...(observer?.input && {onInput: (event, timer) => observer.input?.(event, this.#cause, timer)}),
			onTimerSet: (timer, delayMs) => observer?.timerSet?.(timer, delayMs),
			onSettled: () => this.#settle(),
			onDone: thrown =>
				thrown === undefined
					? observer?.done?.(this.failure, false)
					: observer?.done?.(`the ${this.kind} machine threw: ${thrown}`, true),
		});
	}

	#startPass(pass: string, given: Parameters<PassStart>[0]): ReturnType<PassStart> {
		const {id, passes, overrides = {}, ports, observer, outlet} = this.#options;
		const override = overrides[pass];
		if (!override && !passes.includes(pass))
			throw new Error(`The machine needs the pass \`${pass}\`: its host has none of that name`);
		observer?.passStarted?.(pass, given.input);
		const onEnd = outlet && ((result: PassResult) => outlet.passed(result));
		return startPass({actor: id, pass, compute: ports.compute, store: this.#store, override, onEnd}, given);
	}

	#enter(event: {readonly type: string}, cause: string | undefined): void {
		this.#cause = cause;
		this.#actor.send(event);
		this.#cause = undefined;
	}

	#settle(): void {
		this.#store.sweep(() => this.#named);
		this.#options.observer?.transition?.(this);
		this.#options.outlet?.settled();
	}

	#deliver(frame: Frame): void {
		const subject = parseSubject(frame.subject);
		if (!subject || (subject.kind === this.kind && subject.id === this.id) || hostVerbs.has(subject.verb)) return;
		const decoded = receiveFrame(frame);
		if (decoded.ok && this.#isDeposed(decoded.envelope)) return;
		const problem = decoded.ok ? this.#options.check?.(subject.verb, decoded.body, this, subject.id) : decoded.problem;
		if (problem) this.#refuse(problem, subject.id, subject.verb);
		if (problem || !decoded.ok) return;
		// Reports are for recorders: their bytes are not the training's.
		if (subject.verb !== 'report') this.#bytes.received += decoded.envelope.bytes;
		this.#options.observer?.heard?.(subject.verb, decoded.body);
		this.#enter(this.#eventOf(decoded.envelope, decoded.body as Record<string, unknown>), decoded.envelope.messageId);
	}

	/** What a server says that another life has taken the place of is counted and not heard. */
	#isDeposed({subject: {id, kind}, incarnation}: Envelope): boolean {
		if (!this.#options.outlet || (kind !== 'main-server' && kind !== 'fed-server')) return false;
		const latest = this.#lives.get(id) ?? 0;
		if (incarnation >= latest) {
			if (incarnation > latest) this.#lives.set(id, incarnation);
			return false;
		}
		this.#options.observer?.dropped?.(deposedProblem(incarnation, latest), id);
		return true;
	}

	#eventOf({subject}: Envelope, body: Record<string, unknown>) {
		const handled = 'tensors' in body ? {...body, tensors: this.#store.put(body.tensors as NamedTensors)} : body;
		const atMs = subject.verb === this.#options.stamped && {atMs: this.#options.ports.clock.now()};
		return {type: subject.verb, from: subject.id, fromKind: subject.kind, body: handled, ...atMs};
	}

	/** A bad frame is counted and answered, and changes nothing. */
	#refuse(problem: FrameProblem, sender: string, verb: string): void {
		if (this.kind === 'main-server' || this.kind === 'fed-server') {
			const {field, found, expected, fix} = problem;
			const code = problem.code === 'malformed' ? 'damaged' : 'invalid';
			const body = {verb: verb.slice(0, 64), code, field, found, expected, fix} as const;
			this.#send({verb: 'refused', to: sender, body});
		}
		this.#options.observer?.dropped?.(problem, sender);
	}

	#send(message: Outgoing): void {
		try {
			const held = this.#heldOf(message);
			const frame = this.#frameOf(held, this.incarnation);
			if (this.#options.outlet && message.verb !== 'heartbeat') this.#options.outlet.hold(held, frame);
			else this.#options.ports.bus.publish(frame);
			if (message.verb !== 'report') this.#bytes.sent += frameBytes(frame);
			this.#options.observer?.command?.(message, frameId(frame), frameBytes(frame));
		} catch (error) {
			const problem: FrameProblem = {
				code: 'invalid-message',
				field: message.verb,
				found: errorText(error),
				expected: 'a message that can be sent',
				fix: 'see the text',
			};
			this.#options.observer?.unsent?.(message, problem);
			this.#options.observer?.dropped?.(problem, this.id);
		}
	}

	#heldOf(message: Outgoing): HeldMessage {
		const {id, incarnation} = this.#options;
		const sequence = this.#sequence++;
		return {
			message: message.verb === 'report' ? {...message, body: this.#reportOf(message.body)} : message,
			messageId: `${id}:${incarnation}:${sequence}`,
			sequence,
			...(this.#cause !== undefined && {causationId: this.#cause}),
		};
	}

	/** `incarnation`: the life that said it, which may be a former one. */
	#frameOf({message, messageId, sequence, causationId}: HeldMessage, incarnation: number): Frame {
		const {verb, body} = message;
		const subject = this.#subjectOf(message);
		return sealFrame({
			subject,
			parts: parseSubject(subject)!,
			...{messageId, sequence, causationId, incarnation},
			body: verb !== 'report' && 'tensors' in body ? {...body, tensors: this.#store.get(body.tensors)} : body,
		});
	}

	/** Throws `usage` when a part is no id. */
	#subjectOf({verb, to}: Outgoing): string {
		const subject = to === undefined ? `${this.#prefix}.${verb}` : `${this.#prefix}.${verb}.${to}`;
		if (parseSubject(subject)) return subject;
		const {run, kind, id} = this.#options;
		return subjectOf({run, kind, id, verb, ...(to !== undefined && {to})});
	}

	/** A report leaves with the run's time and the bytes since the last one. */
	#reportOf(body: Extract<Outgoing, {verb: 'report'}>['body']) {
		const {sent, received} = this.#bytes;
		this.#bytes = {sent: 0, received: 0};
		return {...body, timeMs: this.#options.ports.clock.now(), row: {...body.row, bytesUp: sent, bytesDown: received}};
	}
}

const deposedProblem = (found: number, latest: number): FrameProblem => ({
	code: 'deposed',
	field: 'Nats-Msg-Id',
	found: `incarnation ${found}`,
	expected: `at least ${latest}`,
	fix: 'another has taken its place; end that process',
});

/** What a frame that was refused said of its sender, for a log. */
export const droppedText = (problem: FrameProblem, sender: string): string => `from ${sender}: ${problemText(problem)}`;
