/**
Records the actors of one process into one stream of a run folder's `trace/`. Whatever happens to the disk, training goes on.
*/
import {createHash} from 'node:crypto';
import {mkdir} from 'node:fs/promises';
import {join} from 'node:path';
import {CutlayerError, errorText} from '../../protocols/errors.ts';
import {openTraceFile, type TraceFile} from './file.ts';
import type {EndRecord, TraceHeader} from './format.ts';
import {TensorArchive, type TensorArchiveOptions} from './tensors.ts';
import {ActorWatch, Recent, type Stream} from './watch.ts';
import {TraceWriter} from './write.ts';

export type RecorderOptions = {
	/** The run folder's `trace/`. */
	readonly folder: string;
	/** Names this process among those that record into the folder; default `run`. */
	readonly stream?: string;
	readonly header: Omit<TraceHeader, 'kind' | 'n' | 'format'>;
	/** Milliseconds of run time. */
	readonly now: () => number;
	readonly onNotice: (text: string) => void;
	/** Told of the number of each record as it is queued. */
	readonly onRecord?: (n: number) => void;
	readonly queueBytesMax?: number;
	readonly tensors?: Omit<TensorArchiveOptions, 'onNotice'>;
	/** Opens the files; default on the disk. */
	readonly open?: (path: string) => Promise<TraceFile>;
};

const messagesRemembered = 65_536;

export class TraceRecorder {
	readonly #writer: TraceWriter;
	readonly #archive: TensorArchive | undefined;
	readonly #stream: Stream;
	readonly #onRecord: ((n: number) => void) | undefined;
	#gaps = 0;

	private constructor({now, onRecord}: RecorderOptions, writer: TraceWriter, archive: TensorArchive | undefined) {
		this.#onRecord = onRecord;
		this.#writer = writer;
		this.#archive = archive;
		this.#stream = {
			append: record => this.#append(record),
			gaps: () => this.#gaps,
			sent: new Recent(messagesRemembered),
			keep: (digest, tensor) => archive?.put(digest, tensor),
			// Thousandths of a millisecond are what a clock can tell.
			now: () => Math.round(now() * 1000) / 1000,
		};
	}

	/** Throws `disk` when the files cannot be made. */
	static async open(options: RecorderOptions): Promise<TraceRecorder> {
		const {folder, stream = 'run', header, onNotice, queueBytesMax, tensors, open = openTraceFile} = options;
		try {
			await mkdir(folder, {recursive: true});
			const [file, index] = [await open(join(folder, `${stream}.trace`)), await open(join(folder, `${stream}.index`))];
			const archive =
				header.level === 'full' ? await TensorArchive.open(join(folder, 'tensors'), {...tensors, onNotice}) : undefined;
			const writer = new TraceWriter({
				file,
				index,
				header,
				onNotice,
				...(queueBytesMax !== undefined && {queueBytesMax}),
			});
			return new TraceRecorder(options, writer, archive);
		} catch (error) {
			throw new CutlayerError(
				'disk',
				`Cannot record into ${folder}: ${errorText(error)}; give another --out or --trace off`,
				{
					cause: error,
				},
			);
		}
	}

	/** An observer for one host; each host has its own. */
	watch(): ActorWatch {
		return new ActorWatch(this.#stream);
	}

	/** Writes what waits and why the trace ends. */
	async close(reason: EndRecord['reason']): Promise<void> {
		await this.#archive?.close();
		const lost = this.#archive?.lost ?? 0;
		await this.#writer.close({reason, ...(lost > 0 && {tensorsLost: lost})});
	}

	#append(record: Parameters<TraceWriter['append']>[0]): number | undefined {
		const n = this.#writer.append(record);
		if (n === undefined) this.#gaps++;
		else this.#onRecord?.(n);
		return n;
	}
}

/** SHA-256 of a plain value whose members may come in any order, hex. */
export const hashOf = (value: unknown): string =>
	createHash('sha256')
		.update(JSON.stringify(ordered(value)))
		.digest('hex');

function ordered(value: unknown): unknown {
	if (Array.isArray(value)) return value.map(ordered);
	if (typeof value !== 'object' || value === null) return value;
	const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
	return Object.fromEntries(entries.map(([key, item]) => [key, ordered(item)]));
}
