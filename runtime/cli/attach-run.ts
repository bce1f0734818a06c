/**
Joins a run that is under way: finds it, takes over its scenario, and takes part as a client or an evaluator.
*/
import {checkScenario, setPath} from '../../protocols/check-scenario.ts';
import type {Scenario} from '../../protocols/scenario.ts';
import {askControl, type FoundRun} from '../attach/ask.ts';
import {rowsKindOf} from '../data/rows-kind.ts';
import {ownRows} from '../run/own-data.ts';
import {type Access, findRun, openAccess} from './broker-access.ts';
import {incarnationFor, joinAs} from './guest.ts';
import type {AttachFlags} from './guest-flags.ts';

/** Rows an evaluator measures on when the scenario names none. */
const validationRows = 64;

/** Takes part to the end of the run or to Ctrl-C. Throws `usage` or `data-invalid` for what the user can correct. */
export async function attachRun(kind: 'client' | 'evaluator', flags: AttachFlags): Promise<void> {
	const access = await openAccess(flags, kind, flags.id);
	const guest = await prepare(kind, access.speaker.id, access, flags).finally(() => access.bus.close());
	await joinAs(guest, flags);
}

async function prepare(kind: 'client' | 'evaluator', id: string, access: Access, flags: AttachFlags) {
	const found = await findRun(access, flags.run);
	const {run, agreement} = found;
	const scenario = scenarioHere(found, kind, flags);
	const base = {role: {kind, id}, run, scenario, agreement, creds: access.creds};
	if (kind === 'client')
		return {...base, incarnation: incarnationFor(found, id, flags.replace), rows: ownRows(scenario, id, flags)};
	await askControl({...access, run}, {command: 'evaluate'});
	return {...base, incarnation: 0};
}

/** The run's scenario with what is other here. */
function scenarioHere({run, scenario: text}: FoundRun, kind: 'client' | 'evaluator', flags: AttachFlags): Scenario {
	const scenario = checkScenario(JSON.parse(text), `run ${run}`);
	const {model, rank, cut, set} = flags;
	if (model !== undefined) scenario.model = model;
	if (rank !== undefined) scenario.lora.rank = rank;
	if (cut !== undefined) scenario.cut = cut;
	if (kind === 'evaluator') evaluated(scenario, flags);
	for (const assignment of set) setPath(scenario, assignment);
	return checkScenario(scenario, `run ${run}`);
}

function evaluated(scenario: Scenario, {every, data}: AttachFlags): void {
	scenario.evaluation.everyRounds = every ?? Math.max(1, scenario.evaluation.everyRounds);
	if (scenario.data.validationRows === 0) scenario.data.validationRows = validationRows;
	if (data === undefined) return;
	scenario.data.kind = rowsKindOf(data);
	scenario.data.path = data;
}
