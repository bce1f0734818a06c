/**
The end of the model where a client holds it (the U shape): the loss, and the gradient at what the main server sent. The gradients of
its adapter wait for those of the head, so that both are one optimizer step.
*/
import type {PassResult} from '../../protocols/ports.ts';
import {i32View} from '../../protocols/tensor.ts';
import {type BatchInput, dropoutKey, type Member} from './client-cohort.ts';
import {pick} from './names.ts';
import {packed, unpacked} from './wire.ts';

/** The mean loss of the batch, and its gradient `[tokens, hidden]` at `tail.activations`. */
export function tailStep({state, input, tensors}: Member): PassResult {
	const {spec, tail, trainer, id} = state;
	if (!tail) throw new Error(`${id} does not hold the end of the model`);
	const {lengths, ...key} = input as BatchInput;
	const batch = pick(tensors, 'batch');
	const labels = i32View(batch.labels!);
	const activations = unpacked(tensors['tail.activations']!);
	const rows = lengths.reduce((sum, length) => sum + length, 0);
	const weights = new Float32Array(labels.length).fill(1 / labels.length);
	const dropout = {probability: spec.lora.dropout, groups: [{key: dropoutKey(spec.seed, id, key), rows}]};
	const {targetLosses, inputGradient, gradients} = tail.trainStep(
		{activations, lengths},
		{positions: i32View(batch.targetPositions!), labels, weights, labelSmoothing: spec.labelSmoothing},
		trainer.adapter,
		{wantsInputGradient: true, dropout},
	);
	state.tailGradients = gradients[0]!;
	const loss = targetLosses.reduce((sum, value) => sum + value, 0) / labels.length;
	const gradient = packed(inputGradient!, [rows, tail.config.hidden], spec.wireGradient ?? 'f32');
	return {output: {loss}, tensors: {gradient}};
}
