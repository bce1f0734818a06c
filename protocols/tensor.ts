/**
A tensor as it crosses a boundary (bus, disk, thread) and the handle that stands for tensors inside a machine. No arithmetic here.
*/

/** `i8` is one signed byte a value and one f32 scale a row; the others are what their names say. */
export type Dtype = 'f32' | 'bf16' | 'f16' | 'i8' | 'i32';

/**
A tensor's values in memory.
`bytes` is row-major and little-endian. For `i8` of shape `[rows, columns]` it is `rows` f32 scales followed by
`rows * columns` signed bytes (value = byte * scale of its row).
*/
export type Tensor = {readonly dtype: Dtype; readonly shape: readonly number[]; readonly bytes: Uint8Array};

/** Named tensors: an adapter, a checkpoint, the inputs or outputs of a pass. */
export type NamedTensors = Readonly<Record<string, Tensor>>;

/**
What a machine knows of named tensors: their name in its host's store and their size on the wire. Plain JSON.
A message's `tensors` field becomes a handle on its way into a machine and tensors again on its way out.
*/
export type TensorHandle = {readonly handle: string; readonly bytes: number};

const bytesPerValue: Record<Dtype, number> = {f32: 4, bf16: 2, f16: 2, i8: 1, i32: 4};

/** The number of values of a shape; 1 for a scalar. */
export const sizeOf = (shape: readonly number[]): number => shape.reduce((product, extent) => product * extent, 1);

/** The number of bytes a tensor of this dtype and shape has. */
export function byteLengthOf(dtype: Dtype, shape: readonly number[]): number {
	const values = sizeOf(shape) * bytesPerValue[dtype];
	return dtype === 'i8' ? values + 4 * (shape[0] ?? 0) : values;
}

/** The f32 values as a view when the bytes are aligned, else as one copy. */
export function f32View(tensor: Tensor): Float32Array {
	if (tensor.dtype !== 'f32') throw new Error(`Expected an f32 tensor, got ${tensor.dtype}`);
	return viewOf(Float32Array, tensor.bytes);
}

/** The i32 values as a view when the bytes are aligned, else as one copy. */
export function i32View(tensor: Tensor): Int32Array {
	if (tensor.dtype !== 'i32') throw new Error(`Expected an i32 tensor, got ${tensor.dtype}`);
	return viewOf(Int32Array, tensor.bytes);
}

/** A tensor over the memory of a typed array; nothing is copied. */
export function tensorOf(values: Float32Array | Int32Array, shape: readonly number[]): Tensor {
	const dtype = values instanceof Float32Array ? 'f32' : 'i32';
	return {dtype, shape, bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength)};
}

type View<T> = new (buffer: ArrayBufferLike, byteOffset: number, length: number) => T;

function viewOf<T>(view: View<T>, bytes: Uint8Array): T {
	const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
	return new view(aligned.buffer, aligned.byteOffset, aligned.byteLength / 4);
}
