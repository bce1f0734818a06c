/**
The three clients of the golden runs of `train-split`: their batches, sample counts and the adapter they start from.
*/
import type {NamedTensors} from '../../protocols/tensor.ts';
import type {PackedBatch} from '../../runtime/data/batches.ts';
import {toNamedTensors} from '../../runtime/model/lora.ts';
import type {ClientData} from '../../runtime/run/actors.ts';
import {goldenAdapter, goldenBatch, goldenTensors} from './golden.ts';

const samples = [30, 50, 20];

export type TrainSplitParts = {readonly clients: Record<string, ClientData>; readonly initial: NamedTensors};

/** What `test/golden/train-split/README.md` describes, as the parts of a run. */
export async function trainSplitParts(): Promise<TrainSplitParts> {
	const batches: PackedBatch[][] = [];
	for (const client of samples.keys()) {
		batches[client] = [];
		for (let batch = 0; batch < 4; batch++) {
			const golden = await goldenBatch('train-split/data.safetensors', `batch${batch}.client${client}.`);
			const {positions, labels} = golden.targets;
			batches[client].push({...golden.batch, targetPositions: positions, labels});
		}
	}
	const clients = Object.fromEntries(
		samples.map((count, client) => [
			`c${client}`,
			{samples: count, batchAt: (index: number) => batches[client]![index % 4]!},
		]),
	);
	return {clients, initial: toNamedTensors(goldenAdapter(await goldenTensors('train-split/lora_init.safetensors')))};
}
