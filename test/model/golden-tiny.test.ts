import test from 'ava';
import type {Adapter} from '../../runtime/model/lora.ts';
import {SplitModel} from '../../runtime/model/split.ts';
import {openWeights} from '../../runtime/weights/load.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {
	adapterDifference,
	differenceMax,
	goldenAdapter,
	goldenBatch,
	goldenJson,
	goldenPath,
	goldenTensors,
	packedRows,
	relativeMax,
	weightedSum,
} from '../_helpers/golden.ts';

const backend = await nativeBackend();
const L = 4;

/** The adapters each family was run with, and the file of their weights; `_init` runs have the same A and B = 0. */
const cases = [
	{model: 'tiny-gpt2', run: 'qv', adapter: 'lora_qv'},
	{model: 'tiny-gpt2', run: 'fused', adapter: 'lora_fused'},
	{model: 'tiny-llama', run: 'lora', adapter: 'lora'},
];

type Losses = Record<string, {f64: {loss: number; 'loss_ls0.1': number}}>;

const load = async (model: string, part: {from: number; to: number; hasEmbedding: boolean; hasHead: boolean}) => {
	const source = await openWeights(goldenPath(`${model}/model`));
	const loaded = await SplitModel.load(source, backend, part);
	await source.close();
	return loaded;
};

for (const {model, run, adapter: file} of cases) {
	for (const suffix of ['', '_init']) {
		const read = async (): Promise<Adapter> => {
			const tensors = goldenAdapter(await goldenTensors(`${model}/${file}.safetensors`));
			if (suffix) {
				for (const [name, {shape, values}] of Object.entries(tensors)) {
					if (name.endsWith('.B')) tensors[name] = {shape, values: new Float32Array(values.length)};
				}
			}
			return {alpha: 16, isRankStabilised: false, tensors};
		};

		test(`${model} ${run}${suffix}: logits, losses and smoothed losses equal PyTorch's`, async t => {
			const golden = await goldenTensors(`${model}/${run}${suffix}.f32.safetensors`);
			const {batch, targets, places} = await goldenBatch(`${model}/batch.safetensors`);
			const losses = goldenJson<{losses: Losses}>(`${model}/golden.json`).losses[run + suffix]!.f64;
			const whole = await load(model, {from: 0, to: L, hasEmbedding: true, hasHead: true});
			const adapter = await read();

			const logits = whole.logits(batch, Int32Array.from(places.keys()), adapter);
			const error = differenceMax(logits, packedRows(golden.get('logits')!, places));
			t.true(error < 2e-5, `logits differ by ${error}`);
			const plain = weightedSum(whole.evaluate(batch, targets, adapter), targets.weights);
			t.true(Math.abs(plain - losses.loss) < 5e-6, `${plain} against ${losses.loss}`);
			const smoothed = weightedSum(whole.evaluate(batch, {...targets, labelSmoothing: 0.1}, adapter), targets.weights);
			t.true(Math.abs(smoothed - losses['loss_ls0.1']) < 5e-6, `${smoothed} against ${losses['loss_ls0.1']}`);
			whole.dispose();
		});

		test(`${model} ${run}${suffix}: activations and gradients at every cut equal PyTorch's`, async t => {
			const golden = await goldenTensors(`${model}/${run}${suffix}.f32.safetensors`);
			const {batch, targets, places} = await goldenBatch(`${model}/batch.safetensors`);
			const theirs = goldenAdapter(golden, 'grad.');
			const adapter = await read();
			for (let cut = 0; cut <= L; cut++) {
				const head = await load(model, {from: 0, to: cut, hasEmbedding: true, hasHead: false});
				const tail = await load(model, {from: cut, to: L, hasEmbedding: false, hasHead: true});
				const {activations, saved} = head.forward(batch, adapter);
				const expected = golden.get(cut === 0 ? 'emb' : `hidden.${cut}`)!;
				t.true(differenceMax(activations, packedRows(expected, places)) < 2e-5, `activations at cut ${cut}`);
				const step = tail.trainStep({lengths: batch.lengths, activations}, targets, adapter, {
					wantsInputGradient: true,
				});
				const gradient = golden.get(`grad_hidden.${cut}`);
				if (gradient)
					t.true(relativeMax(step.inputGradient!, packedRows(gradient, places)) < 2e-5, `gradient at cut ${cut}`);
				const back = head.backward(saved, step.inputGradient!);
				t.is(back.inputGradient, undefined);
				const error = adapterDifference({...back.gradients[0], ...step.gradients[0]}, theirs);
				t.true(error < 2e-5, `adapter gradients at cut ${cut} differ by ${error}`);
				head.dispose();
				tail.dispose();
			}
		});

		test(`${model} ${run}${suffix}: gradients of the smoothed loss equal PyTorch's`, async t => {
			const golden = await goldenTensors(`${model}/${run}${suffix}.ls0.1.grads.f32.safetensors`);
			const {batch, targets, places} = await goldenBatch(`${model}/batch.safetensors`);
			const tail = await load(model, {from: 2, to: L, hasEmbedding: false, hasHead: true});
			const head = await load(model, {from: 0, to: 2, hasEmbedding: true, hasHead: false});
			const adapter = await read();
			const {activations, saved} = head.forward(batch, adapter);
			const smoothed = {...targets, labelSmoothing: 0.1};
			const step = tail.trainStep({lengths: batch.lengths, activations}, smoothed, adapter, {wantsInputGradient: true});
			const gradients = {...head.backward(saved, step.inputGradient!).gradients[0], ...step.gradients[0]};
			t.true(adapterDifference(gradients, goldenAdapter(golden, 'grad.')) < 2e-5);
			t.true(relativeMax(step.inputGradient!, packedRows(golden.get('grad_hidden.2')!, places)) < 2e-5);
			head.dispose();
			tail.dispose();
		});
	}
}
