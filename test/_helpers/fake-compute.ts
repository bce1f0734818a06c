/**
A compute port without a model: answers of the right shape whose numbers follow from the request. For tests of what goes on around the arithmetic.
*/
import type {Compute, PassRequest, PassResult} from '../../protocols/ports.ts';
import {type NamedTensors, tensorOf} from '../../protocols/tensor.ts';

type Input = {
	lengths?: number[];
	step?: number;
	round?: number;
	isApplied?: boolean;
	parts?: {client: string; lengths: number[]; step: number; round: number}[];
};

const hidden = 4;
const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
const filled = (rows: number, value: number) => tensorOf(new Float32Array(rows * hidden).fill(value), [rows, hidden]);

/** Loss falls with the step, so that curves have a shape. */
const lossAt = ({step = 0, round = 0}: {step?: number; round?: number}) => 3 / (1 + step + 10 * round);

export class FakeCompute implements Compute {
	/** Awaited before each answer; default nothing. */
	readonly #before: (request: PassRequest) => Promise<void>;

	constructor(before: (request: PassRequest) => Promise<void> = () => Promise.resolve()) {
		this.#before = before;
	}

	async run(request: PassRequest): Promise<PassResult> {
		await this.#before(request);
		const {output, tensors} = answerTo(request);
		return {output: output ?? {}, tensors: tensors ?? {}};
	}

	close(): Promise<void> {
		return Promise.resolve();
	}
}

function answerTo({pass, input, tensors}: PassRequest): {output?: unknown; tensors?: NamedTensors} {
	const {lengths = [], parts = [], isApplied = true, ...key} = input as Input;
	const tokens = sum(lengths);
	switch (pass) {
		case 'forward': {
			const {'batch.targetPositions': targetPositions, 'batch.labels': labels} = tensors;
			return {
				output: {lengths, targets: labels!.shape[0]},
				tensors: {activations: filled(tokens, key.step ?? 0), targetPositions: targetPositions!, labels: labels!},
			};
		}
		case 'backward':
			return {output: {tokens: 8, gradientNorm: lossAt(key)}};
		case 'localStep':
			return {output: {loss: lossAt(key), targets: 4, tokens, gradientNorm: 1}};
		case 'mainStep': {
			const gradients = parts.map(part => filled(sum(part.lengths), lossAt(part)));
			return {
				output: {losses: parts.map(lossAt), gradientNorm: 1, isApplied},
				tensors: Object.fromEntries(gradients.map((gradient, index) => [`${index}.gradient`, gradient])),
			};
		}
		case 'evaluate':
			return {output: {loss: 2, perplexity: Math.exp(2), targets: 4}};
		case 'readAdapter':
		case 'aggregate':
			return {tensors: {'block.0.q.A': filled(2, Object.keys(tensors).length)}};
		default:
			return {};
	}
}
