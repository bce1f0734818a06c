/**
The conductor of a live run: tells who asks that the run is there, and carries out what `cutlayer ctl` asks for by telling the
actor concerned, which records it like any input. Training needs it not.
*/
import {errorText} from '../../protocols/errors.ts';
import type {Agreement, Body} from '../../protocols/messages.ts';
import type {Bus, Frame, Unsubscribe} from '../../protocols/ports.ts';
import {anyRun, conductorId} from '../../protocols/run-messages.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import {patternOf, type SenderKind} from '../../protocols/subjects.ts';
import type {ActorSpec} from '../compute/spec.ts';
import {changedPolicy, changedWire} from './changed-policy.ts';
import {Members} from './members.ts';
import {heard, Voice} from './voice.ts';

/** An actor that the conductor's process can tell something. */
export type Conducted = {
	readonly id: string;
	readonly kind: SenderKind;
	readonly isDone: boolean;
	pause(): void;
	resume(): void;
	/** Ends it as if its machine had failed. */
	kill?(): void;
	/** Each of its passes takes so many milliseconds more. */
	slow?(delayMs: number): void;
	/** Its arithmetic is made of this from now on. */
	respec?(spec: ActorSpec): void;
	/** Values of its machine's input that are others from now on. */
	change?(input: Readonly<Record<string, unknown>>): void;
};

export type ConductorOptions = {
	readonly run: string;
	readonly bus: Bus;
	readonly scenario: Scenario;
	readonly agreement: Agreement;
	/** Whom the fed server tells of every round, beside its cohort. */
	readonly watchers: readonly string[];
	/** Age of the run, ms. */
	readonly now: () => number;
	/** The actors of this process; empty until they have started. */
	readonly actors: () => readonly Conducted[];
	/** What a changed scenario changes in an actor's input. */
	readonly changesOf: (actor: Conducted, before: Scenario, after: Scenario) => Readonly<Record<string, unknown>>;
	/** What an actor's arithmetic is made of under a scenario. */
	readonly specOf: (actor: Conducted, scenario: Scenario) => ActorSpec;
	readonly onNotice: (text: string) => void;
};

/** What could not be done, as a sentence with the fix. */
class Refusal extends Error {}

export class Conductor {
	readonly #options: ConductorOptions;
	readonly #voice: Voice;
	readonly #members: Members;
	readonly #unsubscribes: Unsubscribe[];
	readonly #watchers: Set<string>;
	#scenario: Scenario;
	#isPaused = false;

	private constructor(options: ConductorOptions) {
		const {run, bus, scenario} = options;
		this.#options = options;
		this.#scenario = scenario;
		this.#watchers = new Set(options.watchers);
		this.#voice = new Voice(bus, {kind: 'conductor', id: conductorId, incarnation: 0});
		this.#members = new Members(bus, run);
		this.#unsubscribes = [
			...[run, anyRun].map(asked =>
				bus.subscribe(patternOf({run: asked, verb: 'ask-runs'}), frame => this.#announce(frame)),
			),
			bus.subscribe(patternOf({run, verb: 'control', to: conductorId}), frame => this.#control(frame)),
		];
	}

	/** Listens when it resolves. */
	static async open(options: ConductorOptions): Promise<Conductor> {
		const conductor = new Conductor(options);
		await options.bus.flush();
		return conductor;
	}

	/** Whether clients of other processes are there. */
	get hasGuests(): boolean {
		return this.#guests.length > 0;
	}

	/** Resolves when the clients of other processes have heard the end and left, or after `waitMs`. */
	async farewell(waitMs: number): Promise<void> {
		let timer: NodeJS.Timeout | undefined;
		const isLate = new Promise<'late'>(resolve => {
			timer = setTimeout(() => resolve('late'), waitMs);
		});
		while (this.hasGuests) if ((await Promise.race([isLate, this.#members.changed()])) === 'late') break;
		clearTimeout(timer);
	}

	async close(): Promise<void> {
		for (const unsubscribe of this.#unsubscribes) unsubscribe();
		this.#members.close();
		await this.#options.bus.close();
	}

	get #guests(): string[] {
		const own = new Set(this.#options.actors().map(({id}) => id));
		return this.#members.present.map(({client}) => client).filter(id => !own.has(id));
	}

	#announce(frame: Frame): void {
		const asked = heard(frame, 'ask-runs');
		const {run, agreement, now, actors} = this.#options;
		if (!asked || actors().length === 0) return;
		const {round, isOver, isMainServerHere, present, left} = this.#members;
		const body: Body<'run-announced'> = {
			scenario: JSON.stringify(this.#scenario),
			agreement: {...agreement, wire: this.#scenario.wire},
			ageMs: now(),
			round,
			members: [...present],
			left: [...left],
			isReady: isMainServerHere || !this.#scenario.mainServer,
			isPaused: this.#isPaused,
			isOver,
		};
		this.#voice.say(run, 'run-announced', body, asked.subject.id);
	}

	#control(frame: Frame): void {
		const asked = heard(frame, 'control');
		if (!asked) return;
		const {id, kind} = asked.subject;
		const answer = (isDone: boolean, text: string) =>
			this.#voice.say(this.#options.run, 'controlled', {isDone, text: text.slice(0, 2000)}, id);
		try {
			if (kind === 'evaluator' && asked.body.command !== 'evaluate')
				throw new Refusal('An evaluator may not change a run: use cutlayer ctl');
			const text = this.#carryOut(asked.body, id);
			this.#options.onNotice(`${id}: ${text}`);
			answer(true, text);
		} catch (error) {
			answer(false, errorText(error));
		}
	}

	#carryOut({command, actor, value}: Body<'control'>, asker: string): string {
		if (this.#members.isOver) throw new Refusal('The run is over: nothing can be changed any more');
		switch (command) {
			case 'pause':
				return this.#hold(true);
			case 'resume':
				return this.#hold(false);
			case 'kill':
				return this.#kill(actor);
			case 'slow':
				return this.#slow(actor, Number(value));
			case 'drop':
				return this.#drop(actor);
			case 'policy':
				return this.#changePolicy(value);
			case 'wire':
				return this.#changeWire(value);
			case 'evaluate':
				return this.#evaluate(asker);
		}
	}

	/** The fed server holds at the opening of the next round. */
	#hold(isPaused: boolean): string {
		if (this.#isPaused === isPaused)
			throw new Refusal(
				isPaused ? 'The run is paused already: resume it first' : 'The run is not paused: pause it first',
			);
		const fed = this.#ownOf('fed-server');
		if (isPaused) fed.pause();
		else fed.resume();
		this.#isPaused = isPaused;
		return isPaused ? 'the run is held at the opening of the next round' : 'the run goes on';
	}

	#kill(id: string): string {
		const actor = this.#own(id);
		if (!actor.kill) throw new Refusal(`${id} cannot be killed from here: end its process`);
		actor.kill();
		return `${id} is killed`;
	}

	#slow(id: string, delayMs: number): string {
		const isDelay = Number.isFinite(delayMs) && delayMs >= 0 && delayMs <= 3_600_000;
		if (!isDelay) throw new Refusal(`Expected 0 to 3600000 ms for ${id}, found ${delayMs}: give it as ${id}=250`);
		const actor = this.#own(id);
		if (!actor.slow) throw new Refusal(`${id} cannot be slowed from here: choose another actor`);
		actor.slow(delayMs);
		return `each pass of ${id} takes ${delayMs} ms more`;
	}

	#drop(id: string): string {
		const known = this.#members.present.map(({client}) => client);
		if (!known.includes(id))
			throw new Refusal(`No client ${id || '(none named)'} is in the run: choose one of ${known.join(', ') || 'none'}`);
		this.#voice.say(this.#options.run, 'dismissed', {reason: 'dropped by cutlayer ctl'}, id);
		return `${id} is asked to leave`;
	}

	#changePolicy(assignment: string): string {
		this.#take(changedPolicy(this.#scenario, assignment));
		return `${assignment} holds from now on`;
	}

	/** Whoever sends in the format concerned does so from its next pass on; every receiver reads all of them. */
	#changeWire(assignment: string): string {
		const after = changedWire(this.#scenario, assignment);
		const {specOf, actors} = this.#options;
		for (const actor of actors()) if (!actor.isDone) actor.respec?.(specOf(actor, after));
		this.#take(after);
		const elsewhere = this.#guests.length > 0 ? `; ${this.#guests.join(', ')} keep theirs until they attach again` : '';
		return `wire.${assignment} holds from now on${elsewhere}`;
	}

	/** What the machines are told of a changed scenario; they record it like any input. */
	#take(after: Scenario): void {
		const {changesOf, actors} = this.#options;
		for (const actor of actors()) {
			const input = changesOf(actor, this.#scenario, after);
			if (Object.keys(input).length > 0 && !actor.isDone) actor.change?.(input);
		}
		this.#scenario = after;
	}

	/** The main server shows its adapter from now on, for an evaluator that the scenario did not foresee. */
	#evaluate(asker: string): string {
		this.#watchers.add(asker);
		// Where openings go to the clients chosen alone, it is told of each as well.
		this.#ownOf('fed-server').change?.({watchers: [...this.#watchers]});
		if (!this.#scenario.mainServer) return 'nothing to show';
		const main = this.#options.actors().find(({kind}) => kind === 'main-server');
		if (!main?.change) {
			if (this.#scenario.evaluation.everyRounds > 0) return 'it is shown already';
			throw new Refusal(
				'The main server runs elsewhere and does not show its adapter: start it with evaluation.everyRounds=1',
			);
		}
		main.change({isAdapterPublished: true});
		return 'the main server shows its adapter at each round';
	}

	#own(id: string): Conducted {
		const actors = this.#options.actors().filter(({isDone}) => !isDone);
		const found = actors.find(actor => actor.id === id);
		if (found) return found;
		const isGuest = this.#guests.includes(id);
		throw new Refusal(
			isGuest
				? `${id} runs in a process of its own: drop it, or end that process`
				: `No actor ${id || '(none named)'} is in the run: choose one of ${actors.map(actor => actor.id).join(', ')}`,
		);
	}

	#ownOf(kind: SenderKind): Conducted {
		const found = this.#options.actors().find(actor => actor.kind === kind && !actor.isDone);
		if (!found) throw new Refusal(`The ${kind} has ended: nothing can be changed any more`);
		return found;
	}
}
