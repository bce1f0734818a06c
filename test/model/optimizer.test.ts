import test from 'ava';
import {weightedMean} from '../../runtime/model/combine.ts';
import type {AdapterTensors} from '../../runtime/model/lora.ts';
import {clipByGlobalNorm, initialOptimizerState, optimizerStep} from '../../runtime/model/optimizer.ts';
import {learningRateAt} from '../../runtime/model/schedule.ts';
import {differenceMax, goldenJson, goldenTensors} from '../_helpers/golden.ts';

const one = (...values: number[]): AdapterTensors => ({
	x: {shape: [1, values.length], values: Float32Array.from(values)},
});

test('the first AdamW step moves every value by the learning rate against its gradient, after decay', t => {
	const parameters = one(1, -2, 3);
	optimizerStep({kind: 'adamw'}, initialOptimizerState(), {parameters, gradients: one(0.5, -7, 1e-3), lr: 0.1});
	const expected = [1, -2, 3].map((value, index) => value * (1 - 0.1 * 0.01) - 0.1 * Math.sign([1, -1, 1][index]!));
	t.true(differenceMax(parameters.x!.values, expected) < 1e-5);
});

test('AdamW without a gradient only decays, and without decay does nothing', t => {
	const parameters = one(1, 0);
	let state = initialOptimizerState();
	for (let step = 0; step < 3; step++)
		state = optimizerStep({kind: 'adamw'}, state, {parameters, gradients: one(0, 0), lr: 0.1});
	t.true(Math.abs(parameters.x!.values[0]! - 0.999 ** 3) < 1e-6);
	t.is(parameters.x!.values[1], 0);
	t.is(state.step, 3);
	t.deepEqual(Object.keys(state.moments), ['x.m', 'x.v']);
});

test('SGD steps along the gradient, in place', t => {
	const parameters = one(1, 2);
	const {values} = parameters.x!;
	const state = optimizerStep({kind: 'sgd'}, initialOptimizerState(), {parameters, gradients: one(2, -4), lr: 0.25});
	t.is(parameters.x!.values, values);
	t.deepEqual([...values], [0.5, 3]);
	t.deepEqual(state, {step: 1, moments: {}});
});

test('a missing or misshapen gradient is a mistake', t => {
	t.throws(() => optimizerStep({kind: 'sgd'}, initialOptimizerState(), {parameters: one(1), gradients: {}, lr: 1}), {
		message: /x/,
	});
});

test('clipping scales all gradients to the norm and leaves smaller ones alone', t => {
	const gradients = {x: one(3).x!, y: one(4).x!};
	t.is(clipByGlobalNorm(gradients, 10), 5);
	t.is(gradients.x.values[0], 3);
	t.is(clipByGlobalNorm(gradients, 1), 5);
	t.true(Math.abs(gradients.x.values[0]! - 0.6) < 1e-6 && Math.abs(gradients.y.values[0]! - 0.8) < 1e-6);
});

test('a linear schedule has the rates of both recorded conventions', t => {
	const recorded = goldenJson<{lr_schedule: Record<string, number[]>}>('train-split/golden.json').lr_schedule;
	const [zeroFirst, oneLater] = Object.values(recorded).filter(Array.isArray);
	const schedule = {kind: 'linear', lr: 1e-3, warmupSteps: 3, totalSteps: 12} as const;
	const rates = (isFirstStepZero: boolean) =>
		Array.from({length: 12}, (_, step) => learningRateAt({...schedule, isFirstStepZero}, step));
	t.true(differenceMax(rates(true), zeroFirst!) < 1e-15);
	t.true(differenceMax(rates(false), oneLater!) < 1e-15);
	t.is(learningRateAt(schedule, 0), 0);
	t.is(learningRateAt(schedule, 100), 0);
	t.is(learningRateAt({kind: 'constant', lr: 0.3}, 100), 0.3);
	t.is(learningRateAt({...schedule, warmupSteps: 0}, 0), 1e-3);
});

test('the weighted mean of adapters equals the recorded one, A and B apart', async t => {
	const golden = await goldenTensors('train-split/parallel_unweighted.f32.safetensors');
	const of = (prefix: string): AdapterTensors =>
		Object.fromEntries(
			[...golden]
				.filter(([name]) => name.startsWith(prefix))
				.map(([name, {shape, values}]) => [
					name.slice(prefix.length),
					{shape: [shape[0]!, shape[1]!] as const, values},
				]),
		);
	const mean = weightedMean(
		[0, 1, 2].map(client => of(`agg2.client${client}.`)),
		[0.3, 0.5, 0.2],
	);
	const theirs = of('agg2.global.');
	t.is(Object.keys(theirs).length, 8);
	for (const [name, {values}] of Object.entries(theirs)) t.true(differenceMax(mean[name]!.values, values) < 3e-8, name);
	t.throws(() => weightedMean([], []));
	t.throws(() => weightedMean([one(1), one(1, 2)], [0.5, 0.5]), {message: /x/});
});
