/**
GPT-2 keeps q, k and v in one matrix, `c_attn`, and PEFT adapts it as a whole. Adapters for some of the three apart are
written as one adapter of c_attn with the factors side by side and zeros between, which is the same function:
A = [A_q; A_v], B = [B_q 0; 0 0; 0 B_v] (rows q, k, v). `n` parts of rank r make rank n r.
*/
import {CutlayerError} from '../../protocols/errors.ts';
import {f32View, type NamedTensors, type Tensor, tensorOf} from '../../protocols/tensor.ts';
import {fusedParts} from './peft-names.ts';

/** The factors of c_attn `[parts * rank, hidden]` and `[3 * hidden, parts * rank]` from those of its parts. */
export function fuseParts(adapter: NamedTensors, block: number, parts: readonly string[]): {A: Tensor; B: Tensor} {
	const factors = parts.map(part => ({
		row: fusedParts.indexOf(part as 'q'),
		A: adapter[`block.${block}.${part}.A`],
		B: adapter[`block.${block}.${part}.B`],
	}));
	const [rank, hidden] = factors[0]!.A!.shape as [number, number];
	const fusedRank = parts.length * rank;
	const a = new Float32Array(fusedRank * hidden);
	const b = new Float32Array(3 * hidden * fusedRank);
	for (const [part, {row, A, B}] of factors.entries()) {
		a.set(f32View(A!), part * rank * hidden);
		const values = f32View(B!);
		for (let output = 0; output < hidden; output++) {
			b.set(values.subarray(output * rank, (output + 1) * rank), (row * hidden + output) * fusedRank + part * rank);
		}
	}
	return {A: tensorOf(a, [fusedRank, hidden]), B: tensorOf(b, [3 * hidden, fusedRank])};
}

/** The inverse of `fuseParts`; throws `weights-invalid` when the zeros between the parts are not zeros any more. */
export function splitParts({A, B}: {A: Tensor; B: Tensor}, block: number, parts: readonly string[]): NamedTensors {
	const [fusedRank, hidden] = A.shape as [number, number];
	const rank = fusedRank / parts.length;
	const tensors: Record<string, Tensor> = {};
	const a = f32View(A);
	const b = f32View(B);
	for (const [part, name] of parts.entries()) {
		const row = fusedParts.indexOf(name as 'q');
		const values = new Float32Array(hidden * rank);
		for (let output = 0; output < hidden; output++) {
			const from = (row * hidden + output) * fusedRank + part * rank;
			values.set(b.subarray(from, from + rank), output * rank);
		}
		tensors[`block.${block}.${name}.A`] = tensorOf(a.slice(part * rank * hidden, (part + 1) * rank * hidden), [
			rank,
			hidden,
		]);
		tensors[`block.${block}.${name}.B`] = tensorOf(values, [hidden, rank]);
	}
	const again = f32View(fuseParts(tensors, block, parts).B);
	if (again.some((value, index) => value !== b[index])) {
		throw new CutlayerError(
			'weights-invalid',
			`The adapter says that its c_attn of block ${block} holds ${parts.join(' and ')} apart, but other rows are not zero; save it with the targets it was trained on`,
		);
	}
	return tensors;
}
