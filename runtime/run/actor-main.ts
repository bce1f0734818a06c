/**
The inside of an actor's own process: opens its part of the model, its own rows and its own connection when its run asks for
them, and is gone when the run is.
*/
import {BrokerCredentials} from '../bus/credentials.ts';
import {connectNats} from '../bus/nats.ts';
import type {ActorSpec} from '../compute/spec.ts';
import {ThreadCompute} from '../compute/thread.ts';
import {openTokenizer} from '../data/tokenizer.ts';
import {WallClock} from '../live/clock.ts';
import type {Opening, Preparation, Told} from './actor-process.ts';
import {openRunData, type RunData} from './data.ts';
import {durableActors} from './durability.ts';
import {loadInitial} from './initial.ts';
import {Ipc} from './ipc.ts';
import {type LocalParts, localActors} from './local-actor.ts';
import {freshNoiseKey} from './noise-key.ts';
import type {ActorEvents, ActorRole, RunningActor} from './running-actor.ts';
import {openTracing, type Tracing} from './tracing.ts';

type Prepared = {
	readonly preparation: Preparation;
	readonly compute: ThreadCompute;
	readonly data: RunData;
	readonly parts: LocalParts;
};

/** Serves the run at the other end of this process's pipe until that end closes. */
export function serveActor(role: ActorRole): void {
	if (!process.send) throw new Error('This command is started by `cutlayer run --processes`, with a pipe to it');
	const served = new ServedActor(role);
	process.on('disconnect', () => process.exit());
	// Ctrl-C reaches every process of a terminal: the run decides what it means.
	process.on('SIGINT', () => undefined);
	served.listen();
}

class ServedActor {
	readonly #role: ActorRole;
	#ipc: Ipc | undefined;
	#prepared: Prepared | undefined;
	#actor: RunningActor | undefined;
	#tracing: Tracing | undefined;
	#lastTold = '';
	#isLost = false;

	constructor(role: ActorRole) {
		this.#role = role;
	}

	listen(): void {
		this.#ipc = new Ipc(process, {
			prepare: (preparation: Preparation) => this.#prepare(preparation),
			open: (opening: Opening) => this.#open(opening),
			start: () => this.#start(),
			pause: () => this.#actor?.pause(),
			finish: () => this.#actor?.finish?.(),
			resume: () => this.#actor?.resume(),
			change: (input: Readonly<Record<string, unknown>>) => this.#actor?.change?.(input),
			slow: (delayMs: number) => this.#actor?.slow?.(delayMs),
			respec: (spec: ActorSpec) => this.#actor?.respec?.(spec),
			save: (options: {isLast: boolean}) => this.#actor!.save(options),
			readAdapter: () => this.#actor!.readAdapter(),
			stop: () => this.#stop(),
		});
	}

	async #prepare(preparation: Preparation) {
		const {scenario, model, thread, natsUrl, natsCreds, durable} = preparation;
		const data = await openRunData(scenario, await openTokenizer(thread.modelPath), [this.#role]);
		const initial = await loadInitial(scenario, model.config);
		const {compute, opened} = await ThreadCompute.open(thread);
		const onNotice = (text: string) => this.#ipc!.tell('notice', `${this.#role.id}: ${text}`);
		const onProblem = (problem: Error) => onNotice(problem.message);
		const creds = natsCreds === undefined ? undefined : BrokerCredentials.parse(natsCreds, 'the pipe', Date.now());
		const connect = (name: string) => connectNats({url: natsUrl, name, creds, onNotice, onProblem});
		const {clients, validation} = data;
		this.#prepared = {
			preparation,
			compute,
			data,
			parts: {
				...{model, compute, connect, clients, validation, initial, isEndRepeated: true},
				durable: durable && durableActors({...durable, connect, onNotice: text => this.#ipc!.tell('notice', text)}),
				noiseKey: freshNoiseKey(),
			},
		};
		return opened;
	}

	async #open({run, folder, trace, saved, startedAtMs}: Opening): Promise<void> {
		const {preparation, parts} = this.#prepared!;
		const {scenario} = preparation;
		const clock = new WallClock(Date.now() - startedAtMs);
		const onNotice = (text: string) => this.#ipc!.tell('notice', text);
		const {connect} = parts;
		const tracing = {
			scenario,
			run,
			folder,
			connect,
			clock,
			clockKind: 'wall',
			process: this.#role.id,
			onNotice,
		} as const;
		this.#tracing = trace && (await openTracing({...trace, ...tracing}));
		const watch = this.#tracing?.watch();
		const request = {...this.#role, scenario, run, folder, clock, saved, events: this.#events(), watch};
		this.#actor = await localActors(parts)(request);
	}

	async #start(): Promise<void> {
		await this.#actor!.start();
		this.#tell();
	}

	#events(): ActorEvents {
		return {
			changed: () => this.#tell(),
			done: (_, isLost) => {
				this.#isLost = isLost;
				this.#tell();
			},
			dropped: (problem, sender) => this.#ipc!.tell('dropped', {problem, sender}),
			checkpoint: async () => {
				await this.#ipc!.ask('checkpoint');
			},
		};
	}

	/** The run hears of a status once. */
	#tell(): void {
		const {isQuiet, isDone, failure} = this.#actor!;
		const told: Told = {isQuiet, isDone, failure, isLost: this.#isLost, rowsCut: this.#prepared!.data.rowsCut()};
		const text = JSON.stringify(told);
		if (text === this.#lastTold) return;
		this.#lastTold = text;
		this.#ipc!.tell('status', told);
	}

	async #stop(): Promise<void> {
		const failure = this.#actor?.failure;
		await this.#actor?.stop();
		await this.#tracing?.close(failure ? 'failed' : this.#actor?.isDone ? 'done' : 'interrupted');
		await this.#prepared?.compute.close();
	}
}
