import test from 'ava';
import {selectCohort} from '../../actors/policies/selection.ts';
import {type AdapterTensors, cloneAdapter, fromNamedTensors} from '../../runtime/model/lora.ts';
import {initialOptimizerState, optimizerStep} from '../../runtime/model/optimizer.ts';
import {SplitModel} from '../../runtime/model/split.ts';
import {openWeights} from '../../runtime/weights/load.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {adapterDifference, differenceMax, goldenPath, weightedSum} from '../_helpers/golden.ts';
import {tinyBench, tinyScenario, wholeAdapter} from '../_helpers/tiny-run.ts';
import {trainSplitParts} from '../_helpers/train-split.ts';

const backend = await nativeBackend();
const bench = await tinyBench(backend, 'tiny-gpt2');
const whole = await SplitModel.load(await openWeights(goldenPath('tiny-gpt2/model')), backend, {
	from: 0,
	to: bench.model.config.blocks,
	hasEmbedding: true,
	hasHead: true,
});

test('clients in turn train one model one after another, as a whole model that sees their batches does', async t => {
	const {clients, initial} = await trainSplitParts();
	const training = {
		steps: 8,
		stepsPerRound: 2,
		optimizer: {kind: 'sgd'},
		learningRate: 0.5,
		schedule: {kind: 'constant'},
	} as const;
	const run = await bench.run(tinyScenario({selection: {kind: 'in-turn'}, training, evaluation: {everyRounds: 0}}), {
		clients,
		initial,
	});
	t.is(run.summary.status, 'done', run.summary.reason);
	const steps = run.rows.filter(row => row.kind === 'step');
	t.deepEqual(
		steps.map(({actor}) => actor),
		['c0', 'c0', 'c1', 'c1', 'c2', 'c2', 'c0', 'c0'],
	);
	const tensors: AdapterTensors = cloneAdapter(fromNamedTensors(initial));
	let state = initialOptimizerState();
	const taken: Record<string, number> = {};
	const losses = steps.map(({actor}) => {
		const index = taken[actor] ?? 0;
		taken[actor] = index + 1;
		const batch = clients[actor]!.batchAt(index);
		const {targetPositions: positions, labels} = batch;
		const weights = new Float32Array(labels.length).fill(1 / labels.length);
		const adapter = {alpha: 16, isRankStabilised: false, tensors};
		const {targetLosses, gradients} = whole.trainStep(batch, {positions, labels, weights}, adapter);
		state = optimizerStep({kind: 'sgd'}, state, {parameters: tensors, gradients: gradients[0]!, lr: 0.5});
		return weightedSum(targetLosses, weights);
	});
	const loss = differenceMax(
		steps.map(row => Number(row.loss)),
		losses,
	);
	const adapter = adapterDifference(wholeAdapter(run), tensors, differenceMax);
	t.log({loss, adapter});
	t.true(adapterDifference(tensors, fromNamedTensors(initial), differenceMax) > 1e-3);
	t.true(loss < 2e-5, `losses differ by ${loss}`);
	t.true(adapter < 5e-5, `adapters differ by ${adapter}`);
});

test('turns go round those that are here and have data', t => {
	const able = ['c2', 'c0', 'c1'].map((client, index) => ({client, samples: index}));
	const turns = [0, 1, 2, 3].map(round => selectCohort({kind: 'in-turn'}, able, {round}));
	t.deepEqual(
		turns.map(cohort => cohort.map(({client, weight}) => `${client} ${weight}`).join()),
		['c0 1', 'c1 1', 'c0 1', 'c1 1'],
	);
	t.deepEqual(selectCohort({kind: 'in-turn'}, [], {round: 3}), []);
});
