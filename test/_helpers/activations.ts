/**
A message of the size that training sends most: 512 tokens of a hidden size of 576 in f32, 1.2 MB.
*/
import type {Outgoing} from '../../protocols/codec.ts';
import {type Tensor, tensorOf} from '../../protocols/tensor.ts';

/** Activations `[512, 576]` with values of both signs. */
export function megabyteOfActivations(): Tensor {
	return tensorOf(
		Float32Array.from({length: 512 * 576}, (_, at) => Math.sin(at) * 3),
		[512, 576],
	);
}

/** A client's message with a tensor in it. */
export const activationsMessage = (sequence: number, activations: Tensor): Outgoing => ({
	subject: 'cutlayer.v1.bench.client.c1.activations.s1',
	messageId: `c1:0:${sequence}`,
	sequence,
	body: {
		incarnation: 0,
		round: 3,
		step: 7,
		lengths: Array(8).fill(64),
		targets: 200,
		serverVersionSeen: 12,
		tensors: {activations},
	},
});
