/**
Invariant 7: versions never go back, staleness is never negative.
*/
import type {InputRecord, StartedRecord} from '../format.ts';
import {commandsOf, type Located} from '../trace.ts';
import type {Report, Rule} from './rule.ts';

/** Fields that only grow, in messages of these verbs. */
const growing: Readonly<Record<string, readonly string[]>> = {
	'round-opened': ['round', 'adapterVersion'],
	'run-finished': ['adapterVersion'],
	gradient: ['serverVersion'],
	'server-adapter': ['adapterVersion', 'serverVersion'],
	upload: ['adapterVersion'],
};

/** One number, or several in a text as a round's row has them. */
const stalenessIn = (value: unknown): number[] => {
	if (typeof value === 'number') return [value];
	return typeof value === 'string' && value !== '' ? value.split(' ').map(Number) : [];
};

type Last = {readonly value: number; readonly at: Located};

export class VersionRule implements Rule {
	readonly #report: Report;
	/** By actor and field. */
	readonly #last = new Map<string, Last>();
	/** Answers that are given again name the version of then. */
	readonly #stalenessMax = new Map<string, number>();

	constructor(report: Report) {
		this.#report = report;
	}

	/** What comes back from a checkpoint goes on from the checkpoint's versions. */
	started({actor}: StartedRecord): void {
		for (const key of this.#last.keys()) if (key.startsWith(`${actor} `)) this.#last.delete(key);
	}

	input(record: InputRecord, at: Located): void {
		const isAnswerStored = record.event.type === 'activations' || record.event.type === 'tail-gradient';
		for (const command of commandsOf(record)) {
			if (!('send' in command)) continue;
			const body = command.body as Readonly<Record<string, unknown>>;
			for (const [name, value] of Object.entries({...body, ...(body.row as object | undefined)})) {
				if (!/staleness/i.test(name)) continue;
				for (const one of stalenessIn(value)) this.#checkStaleness(record.actor, name, one);
			}
			if (isAnswerStored && command.send === 'gradient') continue;
			// Who is in a round of its own hears of that alone: rounds and versions grow for each receiver.
			const to = command.send === 'round-opened' && command.to !== undefined ? ` to ${command.to}` : '';
			for (const field of growing[command.send] ?? []) this.#checkGrowth(record.actor, field + to, body[field], at);
		}
	}

	counts() {
		return Object.fromEntries([...this.#stalenessMax].map(([name, value]) => [`largest ${name}`, value]));
	}

	#checkStaleness(actor: string, name: string, value: number): void {
		if (value < 0) this.#report(7, `${actor} measured a ${name} of ${value}, expected at least 0`);
		this.#stalenessMax.set(name, Math.max(value, this.#stalenessMax.get(name) ?? 0));
	}

	#checkGrowth(actor: string, field: string, value: unknown, at: Located): void {
		if (typeof value !== 'number') return;
		const key = `${actor} ${field}`;
		const last = this.#last.get(key);
		if (last && value < last.value)
			this.#report(7, `${field} of ${actor} goes back from ${last.value} to ${value}`, last.at);
		this.#last.set(key, {value, at});
	}
}
