import test from 'ava';
import fc from 'fast-check';
import type {ScenarioFile} from '../../protocols/scenario.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {adapterDifference, differenceMax} from '../_helpers/golden.ts';
import {lossesOf, type TinyBench, tinyBench, tinyScenario, wholeAdapter} from '../_helpers/tiny-run.ts';

const backend = await nativeBackend();
const tolerance = {loss: 2e-5, adapter: 2e-5};

async function train(bench: TinyBench, changes: Partial<ScenarioFile>) {
	const scenario = tinyScenario({evaluation: {everyRounds: 0}, ...changes});
	const result = await bench.run(scenario);
	return {losses: lossesOf(result.rows, scenario).flat(), adapter: wholeAdapter(result)};
}

const benches = {
	'tiny-gpt2': await tinyBench(backend, 'tiny-gpt2'),
	'tiny-llama': await tinyBench(backend, 'tiny-llama'),
};

for (const [name, bench] of Object.entries(benches)) {
	const cuts = Array.from({length: bench.model.config.blocks + 1}, (_, cut) => cut);

	test(`one client of ${name} trains the same wherever the cut is, with dropout on`, async t => {
		const property = fc.asyncProperty(fc.integer({min: 0, max: 1000}), async seed => {
			const shared = {seed, clients: 1, lora: {dropout: 0.2}};
			const whole = await train(bench, {...shared, mainServer: false});
			for (const cut of cuts) {
				const split = await train(bench, {...shared, cut});
				const loss = differenceMax(split.losses, whole.losses);
				t.true(loss < tolerance.loss, `cut ${cut}, seed ${seed}: losses differ by ${loss}`);
				// AdamW's first step turns the sign of a gradient into a whole step, so tiny gradients decide nothing here.
				const adapter = adapterDifference(split.adapter, whole.adapter, differenceMax);
				t.true(adapter < 20 * tolerance.adapter, `cut ${cut}, seed ${seed}: adapters differ by ${adapter}`);
			}
		});
		await fc.assert(property, {numRuns: 2, seed: 11, endOnFailure: true});
	});

	test(`three clients of ${name} that average after every step of SGD train as one model, wherever the cut is`, async t => {
		const training = {steps: 3, stepsPerRound: 1, optimizer: {kind: 'sgd'}, learningRate: 0.2} as const;
		const shared = {seed: 5, lora: {dropout: 0.2}, training};
		const whole = await train(bench, {...shared, mainServer: false});
		for (const cut of cuts) {
			const split = await train(bench, {...shared, cut});
			const loss = differenceMax(split.losses, whole.losses);
			t.true(loss < tolerance.loss, `cut ${cut}: losses differ by ${loss}`);
			const adapter = adapterDifference(split.adapter, whole.adapter, differenceMax);
			t.true(adapter < tolerance.adapter, `cut ${cut}: adapters differ by ${adapter}`);
		}
	});

	test(`another mask trains ${name} to another adapter`, async t => {
		const [one, other] = await Promise.all([1, 2].map(seed => train(bench, {seed, clients: 1, lora: {dropout: 0.2}})));
		t.true(adapterDifference(one!.adapter, other!.adapter, differenceMax) > 1e-3);
	});
}
