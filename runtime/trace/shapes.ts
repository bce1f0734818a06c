/**
The shapes of the maps in a trace: which keys follow on which. A shape that comes often makes its objects with all members at
once, which costs a fraction of adding one member after the other. Pure.
*/

/** More shapes than this are not remembered: a trace whose maps are all unlike must not fill the memory. */
const shapesMax = 20_000;
/** Keys that may follow on the same keys; more are those of a table. */
const nextMax = 40;
/** A shape is worth compiling after so many uses. */
const usesBefore = 16;

type Make = (values: readonly unknown[], at: number) => object;

/** The keys of a map so far, in order. A plain object, since its members are read for every key of a trace. */
export type Shape = {
	readonly keys: readonly string[];
	/** The last key in bytes, and its first and last four where it has as many. */
	readonly bytes: Uint8Array;
	readonly length: number;
	readonly first: number;
	readonly last: number;
	readonly next: Shape[];
	/** The one of these that came last. */
	recent: Shape | undefined;
	uses: number;
	make: Make | undefined;
};

let shapes = 0;

/** The shape with these keys, the last of which is `bytes`. */
export function shapeOf(keys: readonly string[], bytes: Uint8Array): Shape {
	const view = new DataView(bytes.buffer, bytes.byteOffset);
	const isLong = bytes.length >= 4;
	const [first, last] = isLong ? [view.getInt32(0), view.getInt32(bytes.length - 4)] : [0, 0];
	return {keys, bytes, length: bytes.length, first, last, next: [], recent: undefined, uses: 0, make: undefined};
}

/** The shape with one key more, `length` bytes from `at` on. Nothing for the key of a table, and for `__proto__`. */
export function nextShape(shape: Shape, view: DataView, at: number, length: number): Shape | undefined {
	const recent = shape.recent;
	if (recent !== undefined && hasKey(recent, view, at, length)) return recent;
	const next = shape.next;
	for (let index = 0; index < next.length; index++) {
		const one = next[index]!;
		if (!hasKey(one, view, at, length)) continue;
		shape.recent = one;
		return one;
	}
	return addShape(shape, view, at, length);
}

function hasKey(shape: Shape, view: DataView, at: number, length: number): boolean {
	if (shape.length !== length) return false;
	if (length < 4) return isAt(shape.bytes, 0, length, view, at);
	if (view.getInt32(at) !== shape.first || view.getInt32(at + length - 4) !== shape.last) return false;
	return length <= 8 || isAt(shape.bytes, 4, length - 4, view, at);
}

function isAt(bytes: Uint8Array, from: number, to: number, view: DataView, at: number): boolean {
	for (let place = from; place < to; place++) if (bytes[place] !== view.getUint8(at + place)) return false;
	return true;
}

function addShape({keys, next}: Shape, view: DataView, at: number, length: number): Shape | undefined {
	const from = view.byteOffset + at;
	const bytes = new Uint8Array(view.buffer.slice(from, from + length));
	const key = new TextDecoder().decode(bytes);
	// A handle such as main/7 is a name, not a field.
	if (shapes >= shapesMax || next.length >= nextMax || key.includes('/') || key === '__proto__') return undefined;
	const shape = shapeOf([...keys, key], bytes);
	shapes++;
	next.push(shape);
	return shape;
}

/** The object of a shape with the values from `at` on. */
export function objectOf(shape: Shape, values: readonly unknown[], at: number): object {
	if (shape.make !== undefined) return shape.make(values, at);
	if (++shape.uses > usesBefore) shape.make = makerOf(shape.keys);
	return withMembers({}, shape.keys, values, at);
}

/** Adds members one by one. */
export function withMembers(
	made: Record<string, unknown>,
	keys: readonly string[],
	values: readonly unknown[],
	at: number,
): Record<string, unknown> {
	for (let index = 0; index < keys.length; index++) made[keys[index]!] = values[at + index];
	return made;
}

function makerOf(keys: readonly string[]): Make {
	const members = keys.map((key, index) => `${JSON.stringify(key)}: values[at + ${index}]`);
	return new Function('values', 'at', `return {${members.join(', ')}};`) as Make;
}
