/**
Invariant 6: aggregation weights sum to 1, every upload counts at most once, nobody absent counts. Seen at the fed server.
*/
import {emptyTable, keysOf, type Table} from '../../../protocols/table.ts';
import type {InputRecord, StartedRecord} from '../format.ts';
import {commandsOf, type Located} from '../trace.ts';
import type {Report, Rule} from './rule.ts';

type Member = {readonly client: string; readonly weight: number};

export class UploadRule implements Rule {
	readonly #report: Report;
	/** Uploads that wait for their aggregation, by client. */
	readonly #uploads = new Map<string, Located>();
	#aggregations = 0;
	#counted = 0;
	#isComplete = true;

	constructor(report: Report) {
		this.#report = report;
	}

	/** One that comes back from a checkpoint gets the uploads after it again; those before it are in its context. */
	started({role, snapshot}: StartedRecord, at: Located): void {
		if (role !== 'fed-server') return;
		this.#uploads.clear();
		const {context} = (snapshot ?? {}) as {context?: {uploads?: Table<unknown>}};
		for (const client of keysOf(context?.uploads ?? emptyTable)) this.#uploads.set(client, at);
	}

	input(record: InputRecord, at: Located): void {
		const {event} = record;
		if (event.type === 'upload' && event.from !== undefined) this.#uploads.set(event.from, at);
		for (const command of commandsOf(record)) {
			if ('pass' in command && command.pass === 'aggregate') this.#aggregate(command.input);
			if ('send' in command && command.send === 'round-opened') this.#open(command.body);
		}
	}

	gap(): void {
		this.#isComplete = false;
	}

	counts() {
		return {aggregations: this.#aggregations, 'uploads that counted': this.#counted};
	}

	#open(body: unknown): void {
		this.#checkWeights((body as {cohort?: Member[]}).cohort ?? [], 'the cohort of a round');
	}

	#aggregate(input: unknown): void {
		const {members = []} = (input as {plan?: {members?: Member[]}}).plan ?? {};
		this.#aggregations++;
		this.#checkWeights(members, 'an aggregation');
		const seen = new Set<string>();
		for (const {client} of members) {
			if (seen.has(client)) this.#report(6, `${client} counts twice in one aggregation`);
			else if (!this.#uploads.has(client) && this.#isComplete)
				this.#report(6, `${client} counts in an aggregation, but uploaded nothing since the last one`);
			seen.add(client);
		}
		this.#counted += seen.size;
		this.#uploads.clear();
	}

	#checkWeights(members: readonly Member[], what: string): void {
		const sum = members.reduce((total, member) => total + member.weight, 0);
		const isOdd = members.some(({weight}) => !(weight >= 0 && weight <= 1));
		if (members.length > 0 && (isOdd || Math.abs(sum - 1) > 1e-9))
			this.#report(
				6,
				`the weights of ${what} are ${members.map(member => member.weight).join(', ')}: expected shares of 1`,
			);
	}
}
