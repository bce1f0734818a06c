import test from 'ava';
import fc from 'fast-check';
import {applyPatch, isSame, patchOf} from '../../runtime/trace/patch.ts';

const plain = fc.jsonValue({maxDepth: 4});
const object = fc.dictionary(fc.constantFrom('a', 'b', 'c/d', 'e~f', ''), plain, {noNullPrototype: true});

test('a patch makes the later of any two contexts of the earlier', t => {
	fc.assert(
		fc.property(object, object, (before, after) => isSame(applyPatch(before, patchOf(before, after)), after)),
		{numRuns: 500},
	);
	t.pass();
});

test('a patch does not change the value it is applied to', t => {
	const before = {a: {b: 1, c: 2}};
	t.deepEqual(applyPatch(before, [{op: 'remove', path: '/a/b'}]), {a: {c: 2}});
	t.deepEqual(before, {a: {b: 1, c: 2}});
});

test('a patch names the smallest member that changed and looks into nothing that is shared', t => {
	const shared = Object.defineProperty({}, 'trap', {
		enumerable: true,
		get: () => t.fail('what both values share was looked into'),
	});
	const before = {roster: {c0: shared, c1: {round: 1}}, left: null};
	const after = {roster: {c0: shared, c1: {round: 2}}, left: 'c3'};
	t.deepEqual(patchOf(before, after), [
		{op: 'replace', path: '/roster/c1/round', value: 2},
		{op: 'replace', path: '/left', value: 'c3'},
	]);
});

test('NaN stays the same and differs from null', t => {
	t.deepEqual(patchOf({loss: Number.NaN}, {loss: Number.NaN}), []);
	t.is(patchOf({loss: Number.NaN}, {loss: null}).length, 1);
});
