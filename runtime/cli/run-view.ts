/**
What a user sees of a run: a live line a client on a terminal, a plain line a round elsewhere. Everything goes to stderr.
*/
import {MultiBar, type SingleBar} from 'cli-progress';
import type {Scenario} from '../../protocols/scenario.ts';
import type {MetricsRow} from '../run/recorder.ts';
import type {Beside, Comparison, RunSummary} from '../run/summary.ts';
import type {WorldFacts} from '../run/world.ts';
import {bytesText, durationText, secondsText} from '../units.ts';

type ClientLine = {steps: number; tokens: number; bytesUp: number; bytesDown: number; loss: number; bar?: SingleBar};

const format =
	'{client} {bar} {value}/{total}  loss {loss}  {tokensPerSecond} tokens/s  up {up}  down {down}  ends in {eta_formatted}';

export class RunView {
	readonly #scenario: Scenario;
	readonly #isQuiet: boolean;
	/** No fed server here tells of rounds: a step in a new one does. */
	readonly #isGuest: boolean;
	#roundSeen = -1;
	readonly #isTerminal = process.stderr.isTTY === true;
	readonly #clients = new Map<string, ClientLine>();
	#bars: MultiBar | undefined;
	#startMs: number | undefined;
	#lastMs = 0;

	constructor(scenario: Scenario, {isQuiet, isGuest = false}: {isQuiet: boolean; isGuest?: boolean}) {
		this.#scenario = scenario;
		this.#isGuest = isGuest;
		this.#isQuiet = isQuiet;
	}

	begin({backend, backendReason, model, broker, predictedSeconds}: WorldFacts, folder: string): void {
		this.#print(`run      ${this.#scenario.name}: ${this.#scenario.description}`);
		this.#print(`backend  ${backend}: ${backendReason}`);
		this.#print(`model    ${model}`);
		this.#print(`broker   ${broker}`);
		if (predictedSeconds !== undefined)
			this.#print(`devices  simulated in real time; they and their links say ${secondsText(predictedSeconds)}`);
		this.#print(`folder   ${folder}\n`);
		if (this.#isTerminal && !this.#isQuiet) {
			this.#bars = new MultiBar({
				format,
				hideCursor: true,
				barsize: 16,
				stream: process.stderr,
				etaBuffer: 20,
				clearOnComplete: false,
			});
		}
	}

	/** How others join, look on and change it. */
	attachable(run: string, natsUrl: string): void {
		this.#print(`attach   cutlayer attach observer --run ${run} --nats ${natsUrl}\n`);
	}

	/** Whether the run has got anywhere. */
	get hasRows(): boolean {
		return this.#startMs !== undefined;
	}

	row(row: MetricsRow): void {
		this.#startMs ??= row.timeMs;
		this.#lastMs = row.timeMs;
		if (row.kind === 'step') this.#step(row);
		if (row.kind === 'round') this.#round(row);
		if (row.kind === 'eval') {
			this.notice(
				`version ${row.adapterVersion}  validation loss ${Number(row.loss).toFixed(4)}  perplexity ${Number(row.perplexity).toFixed(2)}`,
			);
		}
	}

	/** A line a user should read. */
	notice(text: string): void {
		if (this.#bars) this.#bars.log(`${text}\n`);
		else this.#print(text);
	}

	end(
		{status, reason, seconds, steps, tokensPerSecond, bytesUp, bytesDown, lossFirst, lossLast, beside}: RunSummary,
		folder: string,
	): void {
		this.close();
		this.#print('');
		this.#print(`${status}     ${reason}`);
		this.#print(
			`loss     ${lossFirst?.toFixed(4) ?? '-'} -> ${lossLast?.toFixed(4) ?? '-'} (mean over clients, first and last step)`,
		);
		this.#print(
			`${steps} client steps in ${durationText(seconds)}, ${Math.round(tokensPerSecond)} tokens/s, up ${bytesText(bytesUp)}, down ${bytesText(bytesDown)}`,
		);
		if (beside) this.#beside(beside);
		this.#print(`folder   ${folder}`);
	}

	/** What the simulated devices and links said, and what it took. */
	#beside({run, passes}: Comparison): void {
		const text = ({predicted, measured}: Beside) =>
			`${secondsText(predicted)} predicted, ${secondsText(measured)} measured`;
		this.#print(`run      ${text(run)}`);
		for (const [role, both] of Object.entries(passes)) this.#print(`passes   ${role}: ${text(both)}`);
	}

	close(): void {
		this.#bars?.stop();
		this.#bars = undefined;
	}

	#step(row: MetricsRow): void {
		const line = this.#lineOf(row.actor);
		line.steps++;
		line.tokens += Number(row.tokens);
		line.bytesUp += Number(row.bytesUp);
		line.bytesDown += Number(row.bytesDown);
		line.loss = Number(row.loss);
		line.bar?.update(line.steps, this.#fields(row.actor, line));
		if (!this.#isGuest || row.round === this.#roundSeen) return;
		this.#roundSeen = Number(row.round);
		this.#round(row);
	}

	#lineOf(client: string): ClientLine {
		const known = this.#clients.get(client);
		if (known) return known;
		const line: ClientLine = {steps: 0, tokens: 0, bytesUp: 0, bytesDown: 0, loss: Number.NaN};
		const bar = this.#bars?.create(this.#scenario.training.steps, 0, this.#fields(client, line));
		if (bar) line.bar = bar;
		this.#clients.set(client, line);
		return line;
	}

	#fields(client: string, {loss, tokens, bytesUp, bytesDown}: ClientLine) {
		const seconds = (this.#lastMs - (this.#startMs ?? this.#lastMs)) / 1000;
		return {
			client,
			loss: Number.isNaN(loss) ? '-' : loss.toFixed(4),
			tokensPerSecond: seconds > 0 ? Math.round(tokens / seconds) : '-',
			up: bytesText(bytesUp),
			down: bytesText(bytesDown),
		};
	}

	/** Where there is no terminal, a line a round is enough. */
	#round(row: MetricsRow): void {
		if (this.#bars) return;
		const lines = [...this.#clients].map(([client, line]) => `${client} ${line.loss.toFixed(4)}`);
		const fields = [...this.#clients.values()];
		const up = fields.reduce((total, line) => total + line.bytesUp, 0);
		const down = fields.reduce((total, line) => total + line.bytesDown, 0);
		const {steps} = this.#scenario.training;
		const done = Math.max(0, ...fields.map(line => line.steps));
		const elapsed = (this.#lastMs - (this.#startMs ?? 0)) / 1000;
		const left = done > 0 ? durationText((elapsed / done) * (steps - done)) : '-';
		this.#print(
			`round ${row.round}  step ${done}/${steps}  loss ${lines.join('  ')}  up ${bytesText(up)}  down ${bytesText(down)}  ends in ${left}`,
		);
	}

	#print(text: string): void {
		if (!this.#isQuiet) process.stderr.write(`${text}\n`);
	}
}
