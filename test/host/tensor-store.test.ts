import test from 'ava';
import {tensorOf} from '../../protocols/tensor.ts';
import {TensorStore} from '../../runtime/host/tensor-store.ts';

const values = (count: number) => ({values: tensorOf(new Float32Array(count), [count])});

test('what the context names survives a sweep at any depth, the rest goes', t => {
	const store = new TensorStore('c0');
	const [kept, deep, gone] = [store.put(values(1)), store.put(values(2)), store.put(values(3))];
	store.sweep(() => ({a: kept, b: [{c: {d: deep}}]}), {isForced: true});
	t.is(store.get(kept).values!.bytes.byteLength, 4);
	t.is(store.get(deep).values!.bytes.byteLength, 8);
	t.throws(() => store.get(gone), {message: /Tensors c0\/2 are gone/});
	t.is(store.bytes, 12);
});

test('what is held stays within twice what is named and a floor, and contexts are walked rarely', t => {
	const store = new TensorStore('c0', {bytesFloor: 1000});
	const named = store.put(values(25));
	let walks = 0;
	for (let round = 0; round < 1000; round++) {
		store.put(values(25));
		store.sweep(() => {
			walks++;
			return named;
		});
		t.true(store.bytes <= 2 * named.bytes + 1000 + 100);
	}
	t.true(walks < 200, `${walks} walks for 1000 tensors`);
});

test('a restored store has the old handles and gives new ones', t => {
	const store = new TensorStore('c0');
	const handle = store.put(values(4));
	const restored = new TensorStore('c0');
	restored.restore(store.entries(), store.next);
	t.deepEqual(restored.get(handle), store.get(handle));
	t.is(restored.put(values(1)).handle, 'c0/1');
	t.is(restored.bytes, 20);
});
