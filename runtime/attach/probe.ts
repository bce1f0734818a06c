/**
The probe: an observer that hears activations by permission, measures what they give away, and reports it to its run as rows of
the metrics. It takes no part in training.
*/
import {messageProblem} from '../../protocols/check-message.ts';
import {decodeFrame} from '../../protocols/codec.ts';
import {errorText} from '../../protocols/errors.ts';
import type {Body} from '../../protocols/messages.ts';
import type {Bus, Compute, Frame, Unsubscribe} from '../../protocols/ports.ts';
import {patternOf} from '../../protocols/subjects.ts';
import type {NamedTensors} from '../../protocols/tensor.ts';
import type {Recovered} from '../compute/probe.ts';
import {type Speaker, Voice} from './voice.ts';

export type ProbeOptions = {
	readonly bus: Bus;
	readonly speaker: Speaker;
	readonly run: string;
	/** The actor `speaker.id` is opened there. */
	readonly compute: Compute;
	/** The first step of every so many rounds of each client is measured. */
	readonly everyRounds: number;
	/** The blocks a client holds. */
	readonly cutOf: (client: string) => number;
	/** Age of the run, ms. */
	readonly now: () => number;
	readonly onRow: (row: ProbeRow) => void;
	readonly onProblem: (text: string) => void;
};

/** What one batch gave away: shares of its `tokens`, those whose ids its labels tell. */
export type ProbeRow = {
	readonly client: string;
	readonly round: number;
	readonly step: number;
	readonly cut: number;
	readonly tokens: number;
	readonly recoveredCosine: number;
	readonly recoveredEuclidean: number;
	/** Where the heads are compared with too. */
	readonly recoveredThroughHead?: number | undefined;
};

type Heard = {readonly client: string; readonly body: Body<'activations'>};

/** Batches that wait to be measured: those beyond are let go. */
const waitingMax = 16;

export class Probe {
	readonly #options: ProbeOptions;
	readonly #voice: Voice;
	readonly #unsubscribe: Unsubscribe;
	readonly #waiting: Heard[] = [];
	/** The last round measured of each client. */
	readonly #rounds = new Map<string, number>();
	#measuring: Promise<void> | undefined;

	constructor(options: ProbeOptions) {
		this.#options = options;
		const {bus, speaker, run} = options;
		this.#voice = new Voice(bus, speaker);
		this.#unsubscribe = bus.subscribe(`${patternOf({run, kind: 'client', verb: 'activations'})}.*`, frame =>
			this.#take(frame),
		);
	}

	/** Resolves when what was heard is measured and said. */
	async close(): Promise<void> {
		this.#unsubscribe();
		await this.#measuring;
	}

	#take(frame: Frame): void {
		const decoded = decodeFrame(frame);
		if (!decoded.ok || messageProblem(decoded.envelope.subject, decoded.body)) return;
		const {id: client} = decoded.envelope.subject;
		const body = decoded.body as Body<'activations'>;
		const isDue = body.step === 0 && body.round % this.#options.everyRounds === 0;
		if (!isDue || body.round <= (this.#rounds.get(client) ?? -1) || this.#waiting.length >= waitingMax) return;
		this.#rounds.set(client, body.round);
		this.#waiting.push({client, body});
		this.#measuring ??= this.#measureAll().finally(() => {
			this.#measuring = undefined;
		});
	}

	async #measureAll(): Promise<void> {
		for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) {
			try {
				await this.#measure(next);
			} catch (error) {
				this.#options.onProblem(`Activations of ${next.client} could not be measured: ${errorText(error)}`);
			}
		}
	}

	async #measure({client, body}: Heard): Promise<void> {
		const {compute, speaker, run, now, cutOf, onRow} = this.#options;
		const {round, step, lengths} = body;
		const tensors = body.tensors as NamedTensors;
		const cut = cutOf(client);
		const {output} = await compute.run({actor: speaker.id, pass: 'recover', input: {lengths, cut}, tensors});
		const {tokens, cosine, euclidean, throughHead} = output as Recovered;
		if (tokens === 0) return;
		const shares = {
			recoveredCosine: cosine / tokens,
			recoveredEuclidean: euclidean / tokens,
			...(throughHead !== undefined && {recoveredThroughHead: throughHead / tokens}),
		};
		const row = {client, round, step, cut, tokens, ...shares};
		this.#voice.say(run, 'report', {kind: 'probe', timeMs: now(), row});
		onRow(row);
	}
}
