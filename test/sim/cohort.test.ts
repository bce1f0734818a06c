import test from 'ava';
import type {Compute, PassRequest} from '../../protocols/ports.ts';
import {simScenario, simulate} from '../_helpers/simulate.ts';

/** Passes each alone, as if nobody had asked for a cohort; or as asked, with the cohorts counted. */
const watched = (isAlone: boolean, sizes: number[]) => (compute: Compute) => ({
	run: ({cohort, ...request}: PassRequest) => {
		if (cohort) sizes.push(cohort.size);
		return compute.run(cohort && !isAlone ? {...request, cohort} : request);
	},
	close: () => compute.close(),
});

const scenario = simScenario({
	clients: 4,
	fleet: {profile: 'lognormal-0.6'},
	lora: {rank: 2, alpha: 4, dropout: 0.1},
	training: {steps: 4, stepsPerRound: 2},
});

test('clients whose passes overlap in virtual time are computed together, and train as they would alone', async t => {
	const sizes: number[] = [];
	const together = await simulate(scenario, {arithmetic: 'real', wrap: watched(false, sizes)});
	const alone = await simulate(scenario, {arithmetic: 'real', wrap: watched(true, [])});
	t.true(sizes.filter(size => size === 4).length >= 16, `cohorts of ${sizes}`);
	const losses = ({rows}: typeof alone) => rows.flatMap(row => (row.kind === 'step' ? [row.loss as number] : []));
	t.is(losses(together).length, losses(alone).length);
	for (const [index, loss] of losses(alone).entries()) {
		t.true(Math.abs(losses(together)[index]! - loss) < 1e-5 * loss, `step ${index}`);
	}
	t.is(together.figures.virtualMs, alone.figures.virtualMs);
});

test('what is computed together follows from virtual time alone: equal runs write equal rows', async t => {
	const slow = (compute: Compute): Compute => ({
		run: async request => {
			const result = await compute.run(request);
			await new Promise(resolve => setImmediate(resolve));
			return result;
		},
		close: () => compute.close(),
	});
	const first = await simulate(scenario, {arithmetic: 'real'});
	const second = await simulate(scenario, {arithmetic: 'real', wrap: slow});
	t.is(first.metrics, second.metrics);
});
