/**
The tail as the main server computes it where clients have unlike cuts: from one cut to the next, and the rest with the LM head.
A batch enters where its client's head ends, so that batches in order of their cuts are ever more of the packed rows.

    cut 1      cut 2      cut 3
    [ block 1 ][ block 2 ][ blocks 3 ..., norm, LM head, loss ]
    rows of c0 ->  and c1's -> and c2's ->
*/
import {type AdapterTensors, zerosLike} from '../model/lora.ts';
import type {SplitModel} from '../model/split.ts';
import type {Trainer} from './trainer.ts';

/** The packed rows of a step, in order of the cuts they enter at. */
export type TailBatch = {
	/** `[tokens, hidden]`; overwritten. */
	readonly activations: Float32Array;
	/** Tokens of each row, by batch. */
	readonly lengths: readonly (readonly number[])[];
	/** First packed row and first target of each batch, and one past the last. */
	readonly rowStarts: readonly number[];
	readonly targetStarts: readonly number[];
	/** Weights and cuts of the batches. */
	readonly batches: readonly {readonly weight: number; readonly cut: number}[];
};

/** From one cut to the next, with its part of the adapter in a trainer of its own. */
export type Stretch = {readonly model: SplitModel; readonly trainer: Trainer};

type Dropout = NonNullable<NonNullable<Parameters<SplitModel['forward']>[2]>['dropout']>;
type Saved = ReturnType<SplitModel['forward']>['saved'];

/** What a stretch did: how many batches went through it, and what it keeps for the way back. */
export type Passed = {readonly stretch: Stretch; readonly count: number; readonly saved: Saved | undefined};

const countOf = ({batches}: TailBatch, {model}: Stretch) => batches.filter(({cut}) => cut <= model.part.from).length;

const masked = (dropout: Dropout, count: number): Dropout => ({...dropout, groups: dropout.groups.slice(0, count)});

/** Takes the batches to the last cut: their rows of `activations` are then what enters there. */
export function up(stretches: readonly Stretch[], batch: TailBatch, dropout: Dropout): Passed[] {
	const {activations, lengths, rowStarts} = batch;
	const passed: Passed[] = [];
	try {
		for (const stretch of stretches) {
			const count = countOf(batch, stretch);
			const rows = activations.subarray(0, rowStarts[count]! * stretch.model.config.hidden);
			if (count === 0) {
				passed.push({stretch, count, saved: undefined});
				continue;
			}
			const input = {activations: rows, lengths: lengths.slice(0, count).flat()};
			const done = stretch.model.forward(input, stretch.trainer.adapter, {dropout: masked(dropout, count)});
			passed.push({stretch, count, saved: done.saved});
			rows.set(done.activations);
		}
		return passed;
	} catch (error) {
		forget(passed);
		throw error;
	}
}

/** Frees what stretches keep, for a step that ends on the way. */
export function forget(passed: readonly Passed[]): void {
	for (const {stretch, saved} of passed) if (saved) stretch.model.release(saved);
}

/**
Takes the gradient `[tokens, hidden]` at the last cut back, in place: its rows are then the gradients at each batch's own cut. The
gradients of a stretch are those of the mean loss of the batches that went through it, weights renormalised among them.
*/
export function down(passed: readonly Passed[], batch: TailBatch, gradient: Float32Array): AdapterTensors[] {
	const gradients: AdapterTensors[] = passed.map(() => ({}));
	for (const [index, {stretch, count, saved}] of [...passed.entries()].toReversed()) {
		if (!saved) continue;
		const rows = gradient.subarray(0, batch.rowStarts[count]! * stretch.model.config.hidden);
		const back = stretch.model.backward(saved, rows, {wantsInputGradient: stretch.model.part.from > 0});
		if (back.inputGradient) rows.set(back.inputGradient);
		const share = batch.batches.slice(0, count).reduce((sum, {weight}) => sum + weight, 0);
		gradients[index] = back.gradients[0]!;
		if (share === 1 || share <= 0) continue;
		for (const {values} of Object.values(gradients[index])) {
			for (let place = 0; place < values.length; place++) values[place]! /= share;
		}
	}
	return gradients;
}

/** Trains the stretches; one that no batch went through applies what it has gathered, if anything. */
export function trainStretches(
	passed: readonly Passed[],
	gradients: readonly AdapterTensors[],
	{targetStarts}: TailBatch,
	applied: {readonly isApplied: boolean; readonly optimizerStep: number},
): number[] {
	return passed.map(({stretch: {trainer}, count}, index) => {
		if (count > 0) return trainer.train(gradients[index]!, {weight: targetStarts[count]!, ...applied});
		if (!applied.isApplied || !trainer.isGathering) return 0;
		return trainer.train(zerosLike(trainer.adapter.tensors), {weight: 0, ...applied});
	});
}
