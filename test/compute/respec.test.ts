/**
An actor whose arithmetic is made anew while it is used keeps what it has trained.
*/
import test from 'ava';
import type {Compute, PassRequest} from '../../protocols/ports.ts';
import {RespecCompute} from '../../runtime/compute/respec.ts';
import type {ActorSpec} from '../../runtime/compute/spec.ts';

const spec = {kind: 'fed-server'} as unknown as ActorSpec;
const pass = (name: string, actor = 'c0'): PassRequest => ({actor, pass: name, input: {}, tensors: {}});

test('what is asked of an actor while it is made anew comes after it, and others are not held up', async t => {
	const passes: string[] = [];
	const inner: Compute = {
		async run({actor, pass: name}) {
			passes.push(`${actor} ${name}`);
			await new Promise(setImmediate);
			return {output: {}, tensors: {}};
		},
		close: () => Promise.resolve(),
	};
	const compute = new RespecCompute(inner);
	compute.respec('c0', spec);
	await compute.run(pass('backward'));
	await Promise.all([
		compute.run(pass('forward')),
		compute.run(pass('readAdapter')),
		compute.run(pass('forward', 'c1')),
	]);
	await compute.run(pass('forward'));
	t.deepEqual(
		passes.filter(text => text.startsWith('c0')),
		['backward', 'save', 'open', 'restore', 'forward', 'readAdapter', 'forward'].map(name => `c0 ${name}`),
	);
	t.is(passes[2], 'c1 forward');
});
