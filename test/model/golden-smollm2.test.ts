import {openTokenizer} from '../../runtime/data/tokenizer.ts';
import type {Adapter} from '../../runtime/model/lora.ts';
import {SplitModel} from '../../runtime/model/split.ts';
import {openWeights} from '../../runtime/weights/load.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {e2eBatch, e2eFolder, e2eRows} from '../_helpers/e2e.ts';
import {
	adapterDifference,
	differenceMax,
	goldenAdapter,
	goldenJson,
	goldenTensors,
	packedRows,
	relativeMax,
	weightedSum,
} from '../_helpers/golden.ts';
import {testWithModel} from '../_helpers/optional.ts';
import {smollm2Path} from '../_helpers/shared.ts';

const none: Adapter = {alpha: 1, isRankStabilised: false, tensors: {}};

testWithModel('SmolLM2 continues two prompts with the logits of an independent implementation', async t => {
	const backend = await nativeBackend();
	const source = await openWeights(smollm2Path!);
	const model = await SplitModel.load(source, backend, {from: 0, to: 30, hasEmbedding: true, hasHead: true});
	const golden = await goldenTensors('smollm2/prompt_logits.f32.safetensors');
	const {prompts} = goldenJson<{prompts: {ids: number[]; top10_ids: number[]}[]}>('smollm2/logits.json');
	for (const [index, {ids, top10_ids}] of prompts.entries()) {
		const batch = {ids: Int32Array.from(ids), lengths: [ids.length]};
		const logits = model.logits(batch, Int32Array.from(ids.keys()), none);
		const last = logits.subarray((ids.length - 1) * source.config.vocabulary);
		const error = differenceMax(last, golden.get(`${index}.logits_last_position`)!.values);
		t.true(error < 1e-3, `logits of the last position differ by ${error}`);
		const first256 = Float32Array.from(
			ids.flatMap((_, position) => [...logits.subarray(position * last.length, position * last.length + 256)]),
		);
		t.true(differenceMax(first256, golden.get(`${index}.logits_first256`)!.values) < 1e-3);
		const order = Array.from(last.keys()).sort((a, b) => last[b]! - last[a]!);
		t.deepEqual(order.slice(0, 10), top10_ids);
	}
	model.dispose();
	await source.close();
});

testWithModel(
	'the first LoRA step of SmolLM2 has the loss and gradients of a float64 run, split at block 10',
	async t => {
		if (!e2eFolder) return t.pass('without the E2E corpus there is nothing to compare with');
		const backend = await nativeBackend();
		const source = await openWeights(smollm2Path!);
		const head = await SplitModel.load(source, backend, {from: 0, to: 10, hasEmbedding: true, hasHead: false});
		const tail = await SplitModel.load(source, backend, {from: 10, to: 30, hasEmbedding: false, hasHead: true});
		const golden = await goldenTensors('smollm2/step1.f64_rounded_to_f32.safetensors');
		const {losses_f64_first: losses} = goldenJson<{losses_f64_first: number[]}>('smollm2/train.json');
		const {batch, targets} = e2eBatch(e2eRows('trainset.csv', 8), await openTokenizer(smollm2Path!));
		const tensors = goldenAdapter(await goldenTensors('smollm2/lora_init.safetensors'));
		const adapter: Adapter = {alpha: 32, isRankStabilised: false, tensors};

		const {activations, saved} = head.forward(batch, adapter);
		const step = tail.trainStep({lengths: batch.lengths, activations}, targets, adapter, {wantsInputGradient: true});
		const {gradients} = head.backward(saved, step.inputGradient!);
		const loss = weightedSum(step.targetLosses, targets.weights);
		t.true(Math.abs(loss - losses[0]!) < 5e-5, `loss ${loss} against ${losses[0]}`);
		// The goldens hold the first two rows, padded.
		const padded = golden.get('hidden.10')!.shape[1]!;
		const [first, second] = batch.lengths as [number, number];
		const places = [...Array(first).keys(), ...Array.from({length: second}, (_, position) => padded + position)];
		const rows = places.length * source.config.hidden;
		t.true(relativeMax(activations.subarray(0, rows), packedRows(golden.get('hidden.10')!, places)) < 1e-4);
		const gradient = relativeMax(
			step.inputGradient!.subarray(0, rows),
			packedRows(golden.get('grad_hidden.10')!, places),
		);
		t.true(gradient < 1e-4, `gradient at the cut differs by ${gradient}`);
		const ours = Object.entries({...gradients[0], ...step.gradients[0]}).filter(([name]) => name.endsWith('.B'));
		const error = adapterDifference(Object.fromEntries(ours), goldenAdapter(golden, 'grad.'));
		t.log(`worst gradient of B: ${error} of its largest value`);
		t.true(error < 2e-4);
		head.dispose();
		tail.dispose();
		await source.close();
	},
);
