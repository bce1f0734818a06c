import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import type {Compute, PassRequest} from '../../protocols/ports.ts';
import type {ScenarioFile} from '../../protocols/scenario.ts';
import {tensorOf} from '../../protocols/tensor.ts';
import {fromNamedTensors} from '../../runtime/model/lora.ts';
import type {MetricsRow} from '../../runtime/run/recorder.ts';
import {saveAdapters} from '../../runtime/run/save-adapters.ts';
import {loadAdapter} from '../../runtime/weights/peft.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {simScenario, simulate} from '../_helpers/simulate.ts';
import {randomBatch, tinyBench, tinyScenario} from '../_helpers/tiny-run.ts';

const bench = await tinyBench(await nativeBackend(), 'tiny-llama');
const mixed = (aggregation: NonNullable<ScenarioFile['aggregation']>, ranks: number[] | undefined = [2, 4, 8]) =>
	tinyScenario({aggregation, lora: {rank: 3, ...(ranks && {ranks})}, training: {learningRate: 0.02}});

/** The arithmetic of a run, with every request it got. */
function watched(): {compute: Compute; requests: PassRequest[]} {
	const inner = bench.compute();
	const requests: PassRequest[] = [];
	const run = (request: PassRequest) => {
		requests.push(request);
		return inner.run(request);
	};
	return {compute: {run, close: () => inner.close()}, requests};
}

for (const kind of ['zero-padding', 'flexlora', 'flora'] as const) {
	test(`three clients of ranks 2, 4 and 8 train under ${kind} with a main server of rank 3`, async t => {
		const {compute, requests} = watched();
		const {summary, adapters} = await bench.run(mixed({kind}), {compute});
		t.is(summary.reason, 'all steps are done');
		t.is(adapters!.client['block.0.q.A']!.shape[0], 8);
		t.is(adapters!.server['block.2.q.A']!.shape[0], 3);
		const aggregations = requests.filter(request => request.pass === 'aggregate');
		t.is(aggregations.length, 2);
		for (const {tensors} of aggregations) {
			t.deepEqual(
				[0, 1, 2].map(index => tensors[`${index}.block.0.q.A`]!.shape[0]),
				[2, 4, 8],
			);
		}
		const overlay = adapters!.client['overlay.block.0.q.A'];
		t.is(overlay === undefined, kind !== 'flora');
	});
}

const lossesIn = (rows: readonly MetricsRow[]) => rows.filter(row => row.kind === 'step').map(row => Number(row.loss));

test('FFA-LoRA sends B alone, and A ends as it began', async t => {
	const {compute, requests} = watched();
	const {summary, adapters} = await bench.run(tinyScenario({aggregation: {kind: 'ffa-lora'}}), {compute});
	t.is(summary.reason, 'all steps are done');
	t.true(Object.keys(adapters!.client).length > 0);
	t.true(Object.keys(adapters!.client).every(name => name.endsWith('.B')));
	for (const {tensors} of requests.filter(request => request.pass === 'aggregate'))
		t.true(Object.keys(tensors).every(name => name.endsWith('.B')));
});

test('with one client FedEx-LoRA trains as FedAvg does: nothing is left over', async t => {
	const one = (kind: 'fedavg' | 'fedex-lora') =>
		tinyScenario({clients: 1, aggregation: {kind}, training: {learningRate: 0.02}});
	const plain = await bench.run(one('fedavg'));
	const exact = await bench.run(one('fedex-lora'));
	t.is(exact.summary.reason, 'all steps are done');
	const losses = lossesIn(exact.rows);
	for (const [index, loss] of lossesIn(plain.rows).entries()) t.true(Math.abs(loss - losses[index]!) < 1e-5);
});

for (const kind of ['flora', 'fedex-lora', 'ffa-lora', 'flexlora'] as const) {
	test(`the PEFT folders of a ${kind} run evaluate to the loss the run measured`, async t => {
		const ranks = kind === 'flora' || kind === 'flexlora' ? [2, 4, 8] : undefined;
		const scenario = tinyScenario({
			aggregation: {kind},
			lora: {rank: 3, ...(ranks && {ranks})},
			training: {learningRate: 0.02},
			data: {kind: 'restaurants', validationRows: 2},
		});
		const validation = [randomBatch(bench.model.config.vocabulary, 'validation', 0)];
		const {summary, adapters, rows} = await bench.run(scenario, {validation});
		t.is(summary.reason, 'all steps are done');
		const folder = await mkdtemp(join(tmpdir(), 'cutlayer-ranks-'));
		t.teardown(() => rm(folder, {recursive: true, force: true}));
		await saveAdapters(folder, adapters!, {scenario, config: bench.model.config});
		const {tensors, spec} = await loadAdapter(join(folder, 'whole'), bench.model.config);
		t.is(fromNamedTensors(tensors)['block.0.q.A']!.shape[0], spec.rank);
		const compute = bench.compute();
		t.teardown(() => compute.close());
		const part = {from: 0, to: bench.model.config.blocks, hasEmbedding: true, hasHead: true};
		await compute.run({
			actor: 'e',
			pass: 'open',
			input: {kind: 'evaluator', lora: spec, parts: [part]},
			tensors: {},
		});
		const {ids, lengths, targetPositions, labels} = validation[0]!;
		const rowsOf = (name: string, values: Int32Array) => [`0.${name}`, tensorOf(values, [values.length])] as const;
		const {output} = await compute.run({
			actor: 'e',
			pass: 'evaluate',
			input: {batches: [{lengths}]},
			tensors: {
				...Object.fromEntries([
					rowsOf('ids', ids),
					rowsOf('targetPositions', targetPositions),
					rowsOf('labels', labels),
				]),
				...Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [`client.${name}`, tensor])),
			},
		});
		const last = rows.filter(row => row.kind === 'eval').at(-1)!;
		const first = rows.find(row => row.kind === 'eval')!;
		t.true(Math.abs((output as {loss: number}).loss - Number(last.loss)) < 1e-5);
		t.not(Number(first.loss), Number(last.loss));
	});
}

for (const kind of ['zero-padding', 'flexlora', 'flora', 'ffa-lora', 'fedex-lora'] as const) {
	test(`shapes-only arithmetic has the bytes and frames of ${kind}`, async t => {
		const ranks = kind === 'ffa-lora' || kind === 'fedex-lora' ? undefined : [1, 2];
		const scenario = simScenario({aggregation: {kind}, lora: {rank: 2, ...(ranks && {ranks}), dropout: 0}});
		const shapes = await simulate(scenario, {});
		t.is(shapes.summary.reason, 'all steps are done');
		const sizes = (result: typeof shapes) =>
			Object.entries(result.adapters!.client)
				.map(([name, {shape}]) => `${name} ${shape.join('x')}`)
				.toSorted();
		t.is(
			sizes(shapes).some(name => name.startsWith('overlay.')),
			kind === 'flora' || kind === 'fedex-lora',
		);
	});
}
