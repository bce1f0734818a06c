/**
Invariant 5: every accepted step is applied exactly once, or answered with a reason; the counts add up. Seen at the main server.
*/
import type {InputRecord, StartedRecord} from '../format.ts';
import {commandsOf, type Located} from '../trace.ts';
import type {Report, Rule} from './rule.ts';

type Step = {readonly round: number; readonly step: number};
type Part = Step & {readonly client: string; readonly weight: number};

const keyOf = ({round, step}: Step) => `round ${round} step ${step}`;
const isAfter = (a: Step, b: Step) => a.round > b.round || (a.round === b.round && a.step > b.step);

type Client = {
	/** The last step of this client that was applied, and where. */
	applied?: {readonly step: Step; readonly at: Located};
	/** Steps that came and are neither applied nor answered, by key. */
	readonly waiting: Map<string, Step>;
};

export class StepRule implements Rule {
	readonly #report: Report;
	readonly #clients = new Map<string, Client>();
	/** The batches of the pass under way, by main server. */
	readonly #passes = new Map<string, readonly Part[]>();
	#counts = {accepted: 0, applied: 0, answered: 0, superseded: 0, cutOff: 0, withdrawn: 0};
	/** Main servers whose rounds follow one another. */
	readonly #servers = new Set<string>();
	#isComplete = true;

	constructor(report: Report) {
		this.#report = report;
	}

	/** A main server that comes back from a checkpoint takes the steps after it again. */
	started({role, actor, input, snapshot}: StartedRecord): void {
		if (role !== 'main-server') return;
		const from = (input ?? (snapshot as {context?: object} | undefined)?.context) as {isOwnPace?: boolean} | undefined;
		// Where each client goes at its own pace, the opening of one round ends no other.
		if (from?.isOwnPace !== true) this.#servers.add(actor);
		this.#clear();
	}

	input(record: InputRecord, at: Located): void {
		const {event, actor} = record;
		if (event.type === 'activations') this.#arrive(record);
		if (event.type === 'mainStep.done' || event.type === 'mainBackward.done') this.#apply(actor, at);
		if (event.type === 'leave' && event.from !== undefined) this.#withdraw([event.from]);
		if (event.type === 'roster-changed') this.#withdraw((event.body as {left?: string[]}).left ?? []);
		if (event.type === 'round-opened') this.#openRound(actor, (event.body as {round: number}).round);
		for (const command of commandsOf(record)) {
			if ('pass' in command && (command.pass === 'mainStep' || command.pass === 'mainBackward'))
				this.#begin(actor, command.input as {parts?: Part[]});
			if ('send' in command && command.to !== undefined) this.#tell(command.send, command.to, command.body as Step);
			if ('send' in command && command.to === event.from) this.#answer(command.send, record);
		}
	}

	gap(): void {
		this.#clear();
		this.#isComplete = false;
	}

	counts() {
		const waiting = [...this.#clients.values()].reduce((total, client) => total + client.waiting.size, 0);
		const {accepted, applied, answered, superseded, cutOff, withdrawn} = this.#counts;
		return {
			'steps that arrived': accepted,
			'steps applied': applied,
			'steps answered otherwise': answered,
			'steps superseded': superseded,
			'steps cut off by the end of their round': cutOff,
			'steps withdrawn': withdrawn,
			'steps waiting at the end': waiting,
		};
	}

	#clear(): void {
		this.#clients.clear();
		this.#passes.clear();
	}

	#client(id: string): Client {
		const known = this.#clients.get(id);
		if (known) return known;
		const client: Client = {waiting: new Map()};
		this.#clients.set(id, client);
		return client;
	}

	#arrive(record: InputRecord): void {
		const {from = '', body} = record.event;
		const step = body as Step;
		const client = this.#client(from);
		if (client.applied && !isAfter(step, client.applied.step)) return;
		if (client.waiting.has(keyOf(step))) return;
		client.waiting.set(keyOf(step), step);
		this.#counts.accepted++;
	}

	#begin(server: string, {parts = []}: {readonly parts?: Part[]}): void {
		this.#passes.set(server, parts);
		const weight = parts.reduce((total, part) => total + part.weight, 0);
		if (parts.length > 0 && Math.abs(weight - 1) > 1e-9)
			this.#report(6, `${server} weighs the batches of a step with ${weight} in all, expected 1`);
	}

	#apply(server: string, at: Located): void {
		for (const part of this.#passes.get(server) ?? []) {
			const client = this.#client(part.client);
			const {applied} = client;
			if (applied && !isAfter(part, applied.step)) {
				this.#report(5, `${keyOf(part)} of ${part.client} is applied after ${keyOf(applied.step)} was`, applied.at);
			} else if (!client.waiting.delete(keyOf(part)) && this.#isComplete) {
				this.#report(5, `${keyOf(part)} of ${part.client} is applied, but its activations never came`);
			}
			for (const [key, waiting] of client.waiting) {
				if (isAfter(waiting, part)) continue;
				client.waiting.delete(key);
				this.#counts.superseded++;
			}
			client.applied = {step: {round: part.round, step: part.step}, at};
			this.#counts.applied++;
		}
		this.#passes.delete(server);
	}

	/** A gradient is an acknowledgement: its step must have been applied. A skip ends the step it names. */
	#tell(verb: string, to: string, body: Step): void {
		if (verb === 'step-skipped' && this.#clients.get(to)?.waiting.delete(keyOf(body))) this.#counts.answered++;
		if (verb !== 'gradient' || !this.#isComplete) return;
		const applied = this.#clients.get(to)?.applied;
		if (!applied || isAfter(body, applied.step))
			this.#report(5, `${keyOf(body)} of ${to} is acknowledged, but was not applied`);
	}

	/** A refusal or a skip ends the step it answers, and no other of that client. */
	#answer(verb: string, {event}: InputRecord): void {
		if (event.type !== 'activations' || (verb !== 'step-skipped' && verb !== 'refused')) return;
		const waiting = this.#clients.get(event.from ?? '')?.waiting;
		if (waiting?.delete(keyOf(event.body as Step))) this.#counts.answered++;
	}

	/** Whether a step is inside a pass under way. */
	#isTaken(client: string, key: string): boolean {
		return [...this.#passes.values()].some(parts => parts.some(part => part.client === client && keyOf(part) === key));
	}

	/** What waits for a step of a round that is over is never taken; what is inside the pass under way is applied all the same. */
	#openRound(actor: string, round: number): void {
		if (!this.#servers.has(actor)) return;
		for (const [id, {waiting}] of this.#clients) {
			for (const [key, step] of waiting) {
				if (step.round >= round || this.#isTaken(id, key)) continue;
				waiting.delete(key);
				this.#counts.cutOff++;
			}
		}
	}

	/** Of who leaves, what is inside the pass under way is applied all the same. */
	#withdraw(clients: readonly string[]): void {
		for (const id of clients) {
			const waiting = this.#clients.get(id)?.waiting ?? new Map<string, Step>();
			for (const key of waiting.keys()) {
				if (this.#isTaken(id, key)) continue;
				waiting.delete(key);
				this.#counts.withdrawn++;
			}
		}
	}
}
