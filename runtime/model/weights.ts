/**
The frozen weights of a part of a model on the device, read once; what the two families share in reading them.
*/
import type {DeviceTensor, Kernels} from '../tensor/backend.ts';
import type {Block} from './block.ts';
import type {FrozenTensor, WeightSource} from './config.ts';
import {type Norm, scaleColumns} from './layers.ts';

/** `[V, H]` rows of tokens, and GPT-2's `[context, H]` rows of positions. */
export type Embedding = {readonly tokens: DeviceTensor; readonly positions?: DeviceTensor | undefined};

/** The final norm and the LM head `[V, H]`. */
export type Head = {readonly norm: Norm; readonly weight: DeviceTensor};

/** How a family's weights are named and laid out. */
export type FamilyReader = {
	block(index: number): Promise<Block>;
	embedding(): Promise<Embedding>;
	head(): Promise<Head>;
};

/** Reads tensors by name onto the device; a name read twice is one tensor. */
export type Reader = {
	readonly source: WeightSource;
	tensor(name: string): Promise<DeviceTensor>;
	/**
	Matrices `[out, in]` or vectors `[out]` one under another; row i of them all goes to row `place(i)`.
	With a gain `[in]` every row is multiplied by it.
	*/
	stacked(
		names: readonly string[],
		options: {readonly place?: (row: number) => number; readonly gain?: Float32Array},
	): Promise<DeviceTensor>;
	/** The values of a vector, which stay here. */
	values(name: string): Promise<Float32Array>;
	/** Everything read so far. */
	dispose(): void;
};

/** A reader of one source onto one backend. */
export function readerOf(k: Kernels, source: WeightSource): Reader {
	const read = new Map<string, DeviceTensor>();
	const once = async (key: string, create: () => Promise<FrozenTensor>): Promise<DeviceTensor> => {
		const found = read.get(key);
		if (found) return found;
		const {values, shape} = await create();
		const tensor = k.upload(values, shape);
		read.set(key, tensor);
		return tensor;
	};
	return {
		source,
		tensor: name => once(name, () => source.read(name)),
		stacked: (names, {place = row => row, gain}) =>
			once(names.join('|'), async () => stack(await Promise.all(names.map(name => source.read(name))), place, gain)),
		values: async name => (await source.read(name)).values,
		dispose() {
			k.dispose([...read.values()]);
			read.clear();
		},
	};
}

function stack(
	parts: readonly FrozenTensor[],
	place: (row: number) => number,
	gain: Float32Array | undefined,
): FrozenTensor {
	const rows = parts.reduce((sum, {shape}) => sum + shape[0]!, 0);
	const values = new Float32Array(parts.reduce((sum, part) => sum + part.values.length, 0));
	const columns = values.length / rows;
	let row = 0;
	for (const part of parts) {
		for (let start = 0; start < part.values.length; start += columns, row++)
			values.set(part.values.subarray(start, start + columns), place(row) * columns);
	}
	if (gain) scaleColumns(values, gain);
	return {shape: [rows, ...parts[0]!.shape.slice(1)], values};
}
