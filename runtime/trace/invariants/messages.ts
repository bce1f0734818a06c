/**
Invariant 9: no message ends an actor, what was dropped is counted; and every message arrives as it was sent.
*/
import {createHash} from 'node:crypto';
import type {DroppedRecord, EndedRecord, InputRecord, StartedRecord} from '../format.ts';
import {commandsOf, type Located} from '../trace.ts';
import type {Report, Rule} from './rule.ts';

type Sent = {readonly digest: string; readonly at: Located['record']['n']; readonly stream: Located['stream']};

const sentMax = 65_536;

export class MessageRule implements Rule {
	readonly #report: Report;
	/** The last messages by id; who hears one later than that is not compared. */
	readonly #sent = new Map<string, Sent>();
	readonly #dropped: Record<string, number> = {};
	#messages = 0;
	#compared = 0;

	constructor(report: Report) {
		this.#report = report;
	}

	started(record: StartedRecord, at: Located): void {
		this.#send(record, at);
	}

	input(record: InputRecord, at: Located): void {
		this.#receive(record);
		this.#send(record, at);
	}

	dropped(record: DroppedRecord, at: Located): void {
		const name = `dropped: ${record.code}`;
		this.#dropped[name] = (this.#dropped[name] ?? 0) + 1;
		this.#send(record, at);
	}

	ended({actor, failure, isThrown}: EndedRecord): void {
		if (isThrown) this.#report(9, `${actor} was ended by what it consumed: ${failure}`);
	}

	counts() {
		return {'messages sent': this.#messages, 'arrivals compared with their sending': this.#compared, ...this.#dropped};
	}

	#send(record: InputRecord | StartedRecord | DroppedRecord, {stream}: Located): void {
		for (const command of commandsOf(record)) {
			if (!('send' in command)) continue;
			this.#messages++;
			// The host fills in a report's time and bytes.
			if (command.send === 'report') continue;
			this.#sent.set(command.id, {digest: digestOf(command.body, command.tensors), at: record.n, stream});
			if (this.#sent.size > sentMax)
				for (const oldest of this.#sent.keys()) {
					this.#sent.delete(oldest);
					break;
				}
		}
	}

	#receive({actor, message, event, tensors}: InputRecord): void {
		const sent = message === undefined ? undefined : this.#sent.get(message);
		if (!sent) return;
		this.#compared++;
		if (sent.digest === digestOf(event.body, tensors)) return;
		this.#report(9, `${event.type} ${message} came to ${actor} other than record ${sent.at} sent it`);
	}
}

/** Of the body without the handles, which each side numbers itself, and of the tensors. */
function digestOf(body: unknown, tensors: object = {}): string {
	const {tensors: _, ...plain} = (body ?? {}) as {tensors?: unknown};
	const text = JSON.stringify([plain, ...Object.values(tensors).map(named => Object.entries(named as object).sort())]);
	return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
