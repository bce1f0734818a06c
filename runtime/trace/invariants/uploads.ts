/**
Invariant 6: aggregation weights sum to 1, every upload counts at most once, nobody absent counts. Seen at the fed server.
*/
import {emptyTable, entriesOf, type Table} from '../../../protocols/table.ts';
import type {InputRecord, StartedRecord} from '../format.ts';
import {commandsOf, type Located} from '../trace.ts';
import type {Report, Rule} from './rule.ts';

type Member = {readonly client: string; readonly weight: number; readonly round?: number};
type Kept = {readonly client?: string; readonly round: number};
type Waiting = {readonly round: number; readonly at: Located};

export class UploadRule implements Rule {
	readonly #report: Report;
	/** Uploads that did not count yet, by client; a late one may wait beside the next. */
	readonly #uploads = new Map<string, readonly Waiting[]>();
	/** The newest round of each client that counted. */
	readonly #counted = new Map<string, number>();
	#aggregations = 0;
	#total = 0;
	#isComplete = true;

	constructor(report: Report) {
		this.#report = report;
	}

	/** One that comes back from a checkpoint gets the uploads after it again; those before it are in its context. */
	started({role, snapshot}: StartedRecord, at: Located): void {
		if (role !== 'fed-server') return;
		this.#uploads.clear();
		this.#counted.clear();
		const {context} = (snapshot ?? {}) as {context?: {uploads?: Table<Kept>; carried?: readonly Kept[]}};
		for (const [client, {round}] of entriesOf(context?.uploads ?? emptyTable)) this.#wait(client, round, at);
		for (const {client, round} of context?.carried ?? []) this.#wait(client!, round, at);
	}

	input(record: InputRecord, at: Located): void {
		const {event} = record;
		if (event.type === 'upload' && event.from !== undefined)
			this.#wait(event.from, (event.body as {round: number}).round, at);
		for (const command of commandsOf(record)) {
			if ('pass' in command && command.pass === 'aggregate') this.#aggregate(command.input);
			if ('send' in command && command.send === 'round-opened') this.#open(command.body);
		}
	}

	gap(): void {
		this.#isComplete = false;
	}

	counts() {
		return {aggregations: this.#aggregations, 'uploads that counted': this.#total};
	}

	/** A repeat of what counted or of what waits is none. */
	#wait(client: string, round: number, at: Located): void {
		const waiting = this.#uploads.get(client) ?? [];
		if (round <= (this.#counted.get(client) ?? -1) || waiting.some(upload => upload.round === round)) return;
		this.#uploads.set(client, [...waiting, {round, at}]);
	}

	#open(body: unknown): void {
		this.#checkWeights((body as {cohort?: Member[]}).cohort ?? [], 'the cohort of a round');
	}

	#aggregate(input: unknown): void {
		const {members = []} = (input as {plan?: {members?: Member[]}}).plan ?? {};
		this.#aggregations++;
		this.#checkWeights(members, 'an aggregation');
		for (const member of members) this.#count(member);
		this.#total += members.length;
	}

	#count({client, round}: Member): void {
		const waiting = this.#uploads.get(client) ?? [];
		const counted = this.#counted.get(client) ?? -1;
		const upload = waiting.find(one => round === undefined || one.round === round);
		const of = round === undefined ? '' : ` of round ${round}`;
		if (!upload && round !== undefined && round <= counted)
			this.#report(6, `the upload${of} of ${client} counts twice`);
		else if (!upload && this.#isComplete)
			this.#report(6, `${client} counts in an aggregation, but uploaded nothing${of} since it counted last`);
		const last = upload?.round ?? round ?? counted;
		// What is older than what counted cannot count any more.
		this.#uploads.set(
			client,
			waiting.filter(one => one.round > last),
		);
		this.#counted.set(client, Math.max(counted, last));
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
