/**
A whole run of the product (one client, both servers, evaluator, messages over NATS, the arithmetic in its thread) against the
losses of an independent implementation: the same twenty steps of SmolLM2-135M on E2E as `smollm2.ts`, through the real actors.
*/
import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {checkScenario} from '../../protocols/check-scenario.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import {LiveRun} from '../../runtime/run/live-run.ts';
import type {MetricsRow} from '../../runtime/run/recorder.ts';
import {openWorld} from '../../runtime/run/world.ts';
import {e2eFolder} from '../_helpers/e2e.ts';
import {goldenJson} from '../_helpers/golden.ts';
import {smollm2Path} from '../_helpers/shared.ts';
import type {ParityRow} from './rows.ts';

const tolerance = 5e-4;
const initial = path.resolve(import.meta.dirname, '../golden/smollm2/lora_init.safetensors');

/** One row a step and one for each validation loss. Needs the model, the corpus and a nats-server. */
export async function run(): Promise<ParityRow[]> {
	if (!smollm2Path)
		throw new Error('SmolLM2 is not here: run `cutlayer setup`, or name its GGUF file in CUTLAYER_TEST_GGUF');
	if (!e2eFolder) throw new Error('The E2E corpus is not here: name the folder that has data/e2e in CUTLAYER_SHARED');
	const {losses_f64_first: losses} = goldenJson<{losses_f64_first: number[]}>('smollm2/train.json');
	const evaluation = goldenJson<Record<string, {mean_token_loss: number}>>('smollm2/eval.json');
	const rows = await train(scenarioOf(smollm2Path, e2eFolder, losses.length));
	const find = (kind: string, field: string, value: number) =>
		Number(rows.find(row => row.kind === kind && row[field] === value)?.loss ?? Number.NaN);
	return [
		...losses.map((loss, step) => compare(`run: loss of step ${step + 1}`, find('step', 'step', step), loss)),
		compare('run: validation loss before', find('eval', 'adapterVersion', 0), evaluation.first64_f32!.mean_token_loss),
		compare(
			'run: validation loss after',
			find('eval', 'adapterVersion', 1),
			evaluation.first64_after_20_steps_f32!.mean_token_loss,
		),
	];
}

function compare(name: string, ours: number, theirs: number): ParityRow {
	const relativeError = Math.abs(ours - theirs) / theirs;
	return {name, ours, theirs, relativeError, tolerance, holds: relativeError <= tolerance};
}

/** Batches are rows 8s to 8s + 7 of the file; nothing is dropped out, scheduled or aggregated with others. */
const scenarioOf = (model: string, data: string, steps: number): Scenario =>
	checkScenario({
		name: 'parity',
		model,
		cut: 6,
		clients: 1,
		lora: {rank: 4, alpha: 32, dropout: 0, initial},
		data: {kind: 'e2e', path: data, rows: 8 * steps, batchSize: 8, order: 'sequential', validationRows: 64},
		training: {steps, stepsPerRound: steps, learningRate: 2e-4, schedule: {kind: 'constant'}},
	});

async function train(scenario: Scenario): Promise<MetricsRow[]> {
	const folder = await mkdtemp(path.join(tmpdir(), 'cutlayer-parity-'));
	const onNotice = (text: string) => process.stderr.write(`${text}\n`);
	const open = await openWorld({scenario, bus: 'nats', backend: 'tensorflow', onNotice, onProgress: () => undefined});
	try {
		const rows: MetricsRow[] = [];
		const options = {scenario, run: 'parity', folder, isResumed: false, onNotice};
		await new LiveRun(open.world, {...options, onRow: row => rows.push(row)}).run();
		return rows;
	} finally {
		await open.close();
		await rm(folder, {recursive: true, force: true});
	}
}
