/**
Hears the reports of a run and writes them as rows of `metrics.jsonl`. It takes no part in training.
*/
import {createWriteStream, type WriteStream} from 'node:fs';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import type {Bus, Frame} from '../../protocols/ports.ts';
import {receiveFrame} from '../../protocols/receive-frame.ts';
import {RecentIds} from './recent-ids.ts';

/** A row of `metrics.jsonl`: what its kind's docstring in docs/protocol.md names. */
export type MetricsRow = {
	readonly kind: 'step' | 'round' | 'eval' | 'drop' | 'probe';
	readonly timeMs: number;
	/** Who reported it. */
	readonly actor: string;
	readonly [field: string]: number | string | boolean | null;
};

export type RecorderOptions = {
	readonly run: string;
	readonly bus: Bus;
	/** `metrics.jsonl`; rows are appended. */
	readonly path: string;
	readonly onRow: (row: MetricsRow) => void;
	/** Called once when the file can no longer be written; training goes on. */
	readonly onProblem: (error: CutlayerError) => void;
};

export class Recorder {
	readonly #options: RecorderOptions;
	readonly #file: WriteStream;
	readonly #heard = new RecentIds();
	readonly #unsubscribe: () => void;
	#lines: string[] = [];
	#isBroken = false;
	#rows = 0;

	constructor(options: RecorderOptions) {
		this.#options = options;
		this.#file = createWriteStream(options.path, {flags: 'a'});
		this.#file.on('error', error => this.#break(error));
		this.#unsubscribe = options.bus.subscribe(`cutlayer.v1.${options.run}.*.*.report`, frame => this.#take(frame));
	}

	/** Rows written so far. */
	get rows(): number {
		return this.#rows;
	}

	async close(): Promise<void> {
		await this.#options.bus.flush().catch(() => undefined);
		this.#unsubscribe();
		this.#flush();
		await new Promise<void>(resolve => this.#file.end(() => resolve()));
	}

	#take(frame: Frame): void {
		const decoded = receiveFrame(frame);
		if (!decoded.ok || !this.#heard.add(decoded.envelope.messageId)) return;
		const {kind, timeMs, row} = decoded.body as {kind: MetricsRow['kind']; timeMs: number; row: object};
		const {id, kind: role} = decoded.envelope.subject;
		const full: MetricsRow = {
			kind,
			timeMs: Math.round(timeMs),
			actor: id,
			...(role === 'client' && {client: id}),
			...row,
		};
		this.#rows++;
		this.#write(`${JSON.stringify(full)}\n`);
		this.#options.onRow(full);
	}

	/** The rows of one turn of the event loop go out together. */
	#write(line: string): void {
		if (this.#isBroken) return;
		if (this.#lines.length === 0) setImmediate(() => this.#flush());
		this.#lines.push(line);
	}

	#flush(): void {
		if (this.#lines.length > 0) this.#file.write(this.#lines.join(''));
		this.#lines = [];
	}

	#break(error: Error): void {
		if (this.#isBroken) return;
		this.#isBroken = true;
		this.#options.onProblem(
			new CutlayerError(
				'disk',
				`Cannot write ${this.#options.path}: ${errorText(error)}; training goes on without metrics, free some space`,
			),
		);
	}
}
