/**
The Frobenius norms of adapters on their way, and uploads whose norm is far from those beside them. Norms are kept in a
trace beside digests, so that a wrong adapter can be seen where its values are not.
*/
import {f32View, type NamedTensors} from '../../protocols/tensor.ts';
import {fromWireFormat} from '../../protocols/wire-formats.ts';
import {commandsOf, type Located, locatedOf, type Trace} from './trace.ts';

const withAdapter = new Set(['round-opened', 'upload', 'shared-blocks', 'server-adapter', 'run-finished']);

/** Whether messages of this verb carry an adapter. */
export const carriesAdapter = (verb: string): boolean => withAdapter.has(verb);

/** The norm over all matrices of an adapter, to seven digits; nothing for one without matrices. */
export function normOf(tensors: NamedTensors): number | undefined {
	const matrices = Object.values(tensors).filter(({dtype}) => dtype !== 'i32');
	if (matrices.length === 0) return undefined;
	let sum = 0;
	for (const matrix of matrices) for (const value of f32View(fromWireFormat(matrix))) sum += value * value;
	return Number(Math.sqrt(sum).toPrecision(7));
}

export type UnusualUpload = {
	readonly client: string;
	readonly round: number;
	readonly norm: number;
	/** Of the uploads of that round. */
	readonly median: number;
	readonly at: Located;
};

type Upload = Omit<UnusualUpload, 'median'>;

/** Uploads whose norm is over five times the median of their round, or under a fifth of it; rounds of three uploads or more. */
export async function unusualUploads(trace: Trace): Promise<UnusualUpload[]> {
	const rounds = new Map<number, Upload[]>();
	for await (const entry of trace.entries()) {
		if (!entry.head.verbs.includes('upload')) continue;
		for (const upload of uploadsIn(locatedOf(entry)))
			rounds.set(upload.round, [...(rounds.get(upload.round) ?? []), upload]);
	}
	return [...rounds.values()].flatMap(uploads => {
		const median = medianOf(uploads.map(({norm}) => norm));
		const isUnusual = ({norm}: Upload) => norm > 5 * median || 5 * norm < median;
		return uploads.length < 3 ? [] : uploads.filter(isUnusual).map(upload => ({...upload, median}));
	});
}

function uploadsIn(at: Located): Upload[] {
	const {record} = at;
	return commandsOf(record).flatMap(command => {
		if (!('send' in command) || command.send !== 'upload' || command.norm === undefined || !('actor' in record))
			return [];
		const {round} = command.body as {round: number};
		return [{client: record.actor, round, norm: command.norm, at}];
	});
}

function medianOf(values: readonly number[]): number {
	const sorted = values.toSorted((a, b) => a - b);
	const half = sorted.length >> 1;
	return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}
