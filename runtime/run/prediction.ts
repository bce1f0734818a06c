/**
What the description of devices and links says a run will take, beside what it took: the same scenario in virtual time with
shapes for arithmetic, ahead of a run by the wall clock that imposes that description.
*/
import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import type {Scenario} from '../../protocols/scenario.ts';
import {ShapesCompute} from '../compute/shapes.ts';
import {LiveRun} from './live-run.ts';
import {rolesOf} from './plan.ts';
import type {MetricsRow} from './recorder.ts';
import {type SimulationFigures, type SimulationParts, simulatedWorld} from './simulated.ts';
import type {Beside, Comparison} from './summary.ts';

/** When rounds close and the run ends, s. Losses are made up, so what they decide (a target loss, a choice by loss) may differ. */
export type Prediction = {readonly seconds: number; readonly roundEnds: Readonly<Record<string, number>>};

export async function predict(parts: SimulationParts): Promise<Prediction> {
	const folder = await mkdtemp(join(tmpdir(), 'cutlayer-prediction-'));
	const compute = new ShapesCompute(parts.model.config);
	const {scenario} = parts;
	const rows: MetricsRow[] = [];
	try {
		const world = simulatedWorld({...parts, compute, clock: 'virtual', connectReal: undefined, whatIf: undefined});
		const run = new LiveRun(world, {
			scenario,
			run: 'prediction',
			folder,
			isResumed: false,
			onRow: row => rows.push(row),
		});
		const {summary} = await run.run();
		return {seconds: summary.seconds, roundEnds: roundEndsOf(rows)};
	} finally {
		await compute.close();
		await rm(folder, {recursive: true, force: true});
	}
}

/** Sets a prediction beside the rows of the run and the times its passes took. */
export function besidePrediction(prediction: Prediction, {scenario, rows, seconds, figures}: Measured): Comparison {
	const ends = roundEndsOf(rows);
	const both = Object.keys(ends).filter(round => prediction.roundEnds[round] !== undefined);
	return {
		run: {predicted: prediction.seconds, measured: seconds},
		rounds: both.map(round => ({
			round: Number(round),
			predicted: prediction.roundEnds[round]!,
			measured: ends[round]!,
		})),
		passes: passesOf(scenario, figures),
	};
}

export type Measured = {
	readonly scenario: Scenario;
	readonly rows: readonly MetricsRow[];
	readonly seconds: number;
	readonly figures: SimulationFigures;
};

const roundEndsOf = (rows: readonly MetricsRow[]): Record<string, number> =>
	Object.fromEntries(
		rows.filter(({kind}) => kind === 'round').map(({round, timeMs}) => [String(round), timeMs / 1000] as const),
	);

function passesOf(scenario: Scenario, {busyMs, measuredMs}: SimulationFigures): Record<string, Beside> {
	const passes: Record<string, Beside> = {};
	for (const {kind, id} of rolesOf(scenario)) {
		if (measuredMs[id] === undefined || kind === 'evaluator') continue;
		const {predicted, measured} = passes[kind] ?? {predicted: 0, measured: 0};
		passes[kind] = {
			predicted: predicted + (busyMs[id] ?? 0) / 1000,
			measured: measured + measuredMs[id] / 1000,
		};
	}
	return passes;
}
