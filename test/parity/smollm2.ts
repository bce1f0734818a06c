/**
Twenty LoRA steps of SmolLM2-135M on E2E against the losses of a float64 run of an independent implementation.
*/
import {openTokenizer} from '../../runtime/data/tokenizer.ts';
import {initialOptimizerState, optimizerStep} from '../../runtime/model/optimizer.ts';
import {SplitModel} from '../../runtime/model/split.ts';
import {openWeights} from '../../runtime/weights/load.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {e2eBatch, e2eFolder, e2eRows} from '../_helpers/e2e.ts';
import {goldenAdapter, goldenJson, goldenTensors, weightedSum} from '../_helpers/golden.ts';
import {smollm2Path} from '../_helpers/shared.ts';
import type {ParityRow} from './rows.ts';

const rowsPerStep = 8;
const tolerance = 5e-4;

/** One row a step. Needs the model and the corpus. */
export async function run(): Promise<ParityRow[]> {
	if (!smollm2Path)
		throw new Error('SmolLM2 is not here: run `cutlayer setup`, or name its GGUF file in CUTLAYER_TEST_GGUF');
	if (!e2eFolder) throw new Error('The E2E corpus is not here: name the folder with its trainset.csv in CUTLAYER_E2E');
	const {losses_f64_first: theirs} = goldenJson<{losses_f64_first: number[]}>('smollm2/train.json');
	const ours = await train(smollm2Path, theirs.length);
	return theirs.map((loss, step) => {
		const relativeError = Math.abs(ours[step]! - loss) / loss;
		return {
			name: `smollm2: loss of step ${step + 1}`,
			ours: ours[step]!,
			theirs: loss,
			relativeError,
			tolerance,
			holds: relativeError <= tolerance,
		};
	});
}

/** The losses of the steps: AdamW 2e-4 on q and v at rank 4, alpha 32, rows in the order of the file. */
async function train(path: string, steps: number): Promise<number[]> {
	const source = await openWeights(path);
	const tokenizer = await openTokenizer(path);
	const part = {from: 0, to: source.config.blocks, hasEmbedding: true, hasHead: true};
	const model = await SplitModel.load(source, await nativeBackend(), part);
	const rows = e2eRows('trainset.csv', steps * rowsPerStep);
	const parameters = goldenAdapter(await goldenTensors('smollm2/lora_init.safetensors'));
	const losses: number[] = [];
	let state = initialOptimizerState();
	for (let step = 0; step < steps; step++) {
		const {batch, targets} = e2eBatch(rows.slice(step * rowsPerStep, (step + 1) * rowsPerStep), tokenizer);
		const adapter = {alpha: 32, isRankStabilised: false, tensors: parameters};
		const {targetLosses, gradients} = model.trainStep(batch, targets, adapter);
		losses.push(weightedSum(targetLosses, targets.weights));
		state = optimizerStep({kind: 'adamw'}, state, {parameters, gradients: gradients[0]!, lr: 2e-4});
	}
	model.dispose();
	await source.close();
	return losses;
}
