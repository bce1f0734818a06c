import test from 'ava';
import type {Fault} from '../../protocols/faults.ts';
import {tensorOf} from '../../protocols/tensor.ts';
import {toWireFormat} from '../../protocols/wire-formats.ts';
import {normOf, unusualUploads} from '../../runtime/trace/norms.ts';
import {simScenario, simulate} from '../_helpers/simulate.ts';
import {withTrace} from '../_helpers/traces.ts';

test('a norm is that of all matrices together, whatever their format; adapters without matrices have none', t => {
	const [a, b] = [tensorOf(Float32Array.of(3, 0, 0, 4), [2, 2]), tensorOf(Float32Array.of(12), [1, 1])];
	t.is(normOf({a, b}), 13);
	t.is(normOf({a: toWireFormat(a, 'bf16'), b}), 13);
	t.is(normOf({}), undefined);
});

for (const adapters of ['f32', 'i8'] as const) {
	test(`an upload that was scaled by 50 is named, from its round on, with ${adapters} on the wire`, async t => {
		const faults: Fault[] = [{kind: 'scale-adapter', client: 'c1', factor: 50, fromRound: 2}];
		const scenario = simScenario({faults, wire: {adapters}, training: {steps: 6, stepsPerRound: 2}});
		let found: Awaited<ReturnType<typeof unusualUploads>> = [];
		const read = async (folder: string) => {
			found = await withTrace(folder, unusualUploads);
		};
		await simulate(scenario, {
			arithmetic: 'real',
			trace: {level: 'digest', code: 'test', backend: 'test'},
			read,
		});
		t.deepEqual(
			found.map(({client, round}) => [client, round]),
			[['c1', 2]],
		);
		const ratio = found[0]!.norm / found[0]!.median;
		t.true(ratio > 45 && ratio < 55, `${ratio}`);
	});
}

test('uploads of a run without a fault are not unusual', async t => {
	let found: unknown[] = ['not read'];
	await simulate(simScenario(), {
		arithmetic: 'real',
		trace: {level: 'digest', code: 'test', backend: 'test'},
		read: async folder => {
			found = await withTrace(folder, unusualUploads);
		},
	});
	t.deepEqual(found, []);
});
