/**
Tensors to and from the formats they have on the bus.
*/
import {type Dtype, f32View, type NamedTensors, type Tensor, tensorOf} from '../../protocols/tensor.ts';
import {fromWireFormat, toWireFormat} from '../../protocols/wire-formats.ts';
import {type AdapterTensors, fromNamedTensors} from '../model/lora.ts';
import {pick} from './names.ts';

type WireDtype = Exclude<Dtype, 'i32'>;

/** Values as a tensor in a wire format; f32 is a view. */
export const packed = (values: Float32Array, shape: readonly number[], dtype: Dtype): Tensor =>
	toWireFormat(tensorOf(values, shape), dtype as WireDtype);

/** f32 values of a tensor in any wire format; a view when it is aligned f32. */
export const unpacked = (tensor: Tensor): Float32Array =>
	f32View(tensor.dtype === 'f32' ? tensor : fromWireFormat(tensor));

/** An adapter in a wire format. */
export const packedAdapter = (tensors: NamedTensors, dtype: Dtype): NamedTensors =>
	mapTensors(tensors, tensor => toWireFormat(tensor, dtype as WireDtype));

/** An adapter in f32. */
export const unpackedAdapter = (tensors: NamedTensors): NamedTensors => mapTensors(tensors, fromWireFormat);

/** What the group of an overlay is called inside a message that carries an adapter. */
export const overlayGroup = 'overlay';

/** A global adapter as it comes in a message, and the overlay that may come with it. */
export function receivedAdapter(tensors: NamedTensors): {
	readonly adapter: AdapterTensors;
	readonly overlay: AdapterTensors | undefined;
} {
	const all = unpackedAdapter(tensors);
	const adapter = Object.entries(all).filter(([name]) => !name.startsWith(`${overlayGroup}.`));
	const overlay = fromNamedTensors(pick(all, overlayGroup));
	return {
		adapter: fromNamedTensors(Object.fromEntries(adapter)),
		overlay: Object.keys(overlay).length > 0 ? overlay : undefined,
	};
}

const mapTensors = (tensors: NamedTensors, change: (tensor: Tensor) => Tensor): NamedTensors =>
	Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, change(tensor)]));
