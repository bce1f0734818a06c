/**
An actor in a process of its own, as its run sees it. The process is started by fork and told everything over its pipe: its
arguments, which anybody on the machine can read, hold no address and no secret.
*/
import {type ChildProcess, fork} from 'node:child_process';
import {cpus} from 'node:os';
import {fileURLToPath} from 'node:url';
import type {FrameProblem} from '../../protocols/envelope.ts';
import {CutlayerError} from '../../protocols/errors.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import type {NamedTensors} from '../../protocols/tensor.ts';
import type {ActorSpec} from '../compute/spec.ts';
import type {Opened, ThreadOptions} from '../compute/thread.ts';
import type {ActorCheckpoint} from './checkpoint.ts';
import {Ipc} from './ipc.ts';
import type {RunModel} from './plan.ts';
import type {ActorKind, ActorRequest, ActorRole, ActorStatus, RunningActor} from './running-actor.ts';

/** What a process opens before its actor: its part of the model and its own rows. */
export type Preparation = ActorRole & {
	readonly scenario: Scenario;
	readonly model: RunModel;
	readonly thread: ThreadOptions;
	readonly natsUrl: string;
	/** Credentials for the broker; they cross the pipe and nothing else. */
	readonly natsCreds?: string;
	/** Set where a process that dies is started again and goes on; the length of a server's lease, ms. */
	readonly durable?: {readonly leaseMs: number} | undefined;
};

/** What its actor starts from; `startedAtMs` is when the run's clock was 0, in milliseconds of the machine's clock. */
export type Opening = Pick<ActorRequest, 'run' | 'folder' | 'trace' | 'saved'> & {readonly startedAtMs: number};

/** What it tells of itself whenever that has changed. */
export type Told = ActorStatus & {readonly rowsCut: number; readonly isLost: boolean};

const command = fileURLToPath(new URL('../cli/cutlayer.mjs', import.meta.url));
const endTimeoutMs = 3000;

/** TensorFlow threads of one process, so that those that compute at once share the cores. */
export const threadsOf = (kind: ActorKind, clients: number, cores = cpus().length): number =>
	kind === 'client' ? Math.max(1, Math.floor(cores / clients)) : cores;

export class ActorProcess implements RunningActor {
	readonly id: string;
	readonly kind: ActorKind;
	readonly #child: ChildProcess;
	readonly #ipc: Ipc;
	readonly #ended: Promise<void>;
	readonly #onNotice: (text: string) => void;
	#told: Told = {isQuiet: false, isDone: false, failure: null, isLost: false, rowsCut: 0};
	#request: ActorRequest | undefined;
	#isEnding = false;
	#isGone = false;

	/** Starts the process; `prepare` is the first thing to ask of it. `environment` is what its library reads when it loads. */
	constructor(
		{kind, id}: ActorRole,
		{environment, onNotice}: {environment: NodeJS.ProcessEnv; onNotice: (text: string) => void},
	) {
		this.kind = kind;
		this.id = id;
		this.#onNotice = onNotice;
		this.#child = fork(command, ['actor', '--kind', kind, '--id', id], {
			// Each value is already the user's own, or ours joined with it.
			env: {...process.env, ...environment},
			execArgv: [],
			serialization: 'advanced',
			// What it prints must not mix with the result on our stdout.
			stdio: ['ignore', 2, 2, 'ipc'],
		});
		this.#ipc = new Ipc(this.#child, {
			status: (told: Told) => this.#take(told),
			dropped: ({problem, sender}: {problem: FrameProblem; sender: string}) =>
				this.#request?.events.dropped(problem, sender),
			notice: (text: string) => onNotice(text),
			checkpoint: () => this.#request?.events.checkpoint(),
		});
		this.#ended = new Promise(resolve => {
			this.#child.once('error', error => this.#end(error.message, resolve));
			this.#child.once('exit', (code, signal) => this.#end(`ended with ${signal ?? `code ${code}`}`, resolve));
		});
	}

	/** Opens the model and the rows. Rejects with the error of what cannot be opened. */
	async prepare(preparation: Preparation): Promise<Opened> {
		return (await this.#ipc.ask('prepare', preparation)) as Opened;
	}

	/** Opens the actor. */
	async open(request: ActorRequest): Promise<RunningActor> {
		this.#request = request;
		const {run, folder, trace, saved, clock} = request;
		const startedAtMs = Date.now() - clock.now();
		await this.#ipc.ask('open', {run, folder, trace, saved, startedAtMs} satisfies Opening);
		return this;
	}

	/** The process has ended. */
	get isGone(): boolean {
		return this.#isGone;
	}

	get pid(): number | undefined {
		return this.#child.pid;
	}

	get isQuiet(): boolean {
		return this.#told.isQuiet;
	}

	get isDone(): boolean {
		return this.#told.isDone;
	}

	get failure(): string | null {
		return this.#told.failure;
	}

	get rowsCut(): number {
		return this.#told.rowsCut;
	}

	async start(): Promise<void> {
		await this.#ipc.ask('start').catch(error => {
			// One that died meanwhile has said so by its status.
			if (!this.isDone) throw error;
		});
	}

	pause(): void {
		this.#ipc.tell('pause');
	}

	resume(): void {
		this.#ipc.tell('resume');
	}

	finish(): void {
		this.#ipc.tell('finish');
	}

	change(input: Readonly<Record<string, unknown>>): void {
		this.#ipc.tell('change', input);
	}

	slow(delayMs: number): void {
		this.#ipc.tell('slow', delayMs);
	}

	respec(spec: ActorSpec): void {
		this.#ipc.tell('respec', spec);
	}

	kill(): void {
		this.#child.kill('SIGKILL');
	}

	async save(options: {readonly isLast: boolean}): Promise<ActorCheckpoint> {
		return (await this.#ipc.ask('save', options)) as ActorCheckpoint;
	}

	async readAdapter(): Promise<NamedTensors> {
		return (await this.#ipc.ask('readAdapter')) as NamedTensors;
	}

	async stop(): Promise<void> {
		this.#isEnding = true;
		await this.#ipc.ask('stop').catch(() => undefined);
	}

	/** Ends the process: politely by the end of its pipe, and after 3 seconds by force. */
	async close(): Promise<void> {
		this.#isEnding = true;
		if (this.#child.connected) this.#child.disconnect();
		const force = setTimeout(() => this.#child.kill('SIGKILL'), endTimeoutMs);
		await this.#ended;
		clearTimeout(force);
	}

	#take(told: Told): void {
		const wasDone = this.#told.isDone;
		this.#told = told;
		if (told.isDone && !wasDone) this.#request?.events.done(told.failure, told.isLost);
		this.#request?.events.changed();
	}

	#end(how: string, resolve: () => void): void {
		this.#isGone = true;
		const text = `its process ${this.#child.pid ?? ''} ${how}`;
		this.#ipc.fail(new CutlayerError('run-failed', `${this.id}: ${text}`));
		if (this.isDone && !this.#isEnding) this.#onNotice(`${this.id}: ${text}, when it had nothing left to do`);
		if (!this.isDone && !this.#isEnding) {
			this.#take({...this.#told, isQuiet: true, isDone: true, isLost: true, failure: text});
		}
		resolve();
	}
}
