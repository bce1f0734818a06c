/**
Every policy of the fed server through the real actors in virtual time: it trains, and its trace holds.
*/
import test from 'ava';
import type {ScenarioFile} from '../../protocols/scenario.ts';
import {simScenario, simulate} from '../_helpers/simulate.ts';

type Part = Partial<ScenarioFile>;
const ownPace: Part = {update: {kind: 'sequential'}};

const selections: Part[] = [
	{selection: {kind: 'all'}},
	{selection: {kind: 'available'}, closing: {kind: 'quorum', fraction: 0.5, deadlineMs: 40, late: 'carry'}, ...ownPace},
	{selection: {kind: 'random', count: 2}},
	{selection: {kind: 'random', fraction: 0.4}},
	{selection: {kind: 'power-of-choice', count: 2, candidates: 4}},
	{selection: {kind: 'oort', count: 2}},
];
const closings: Part[] = [
	{closing: {kind: 'all'}},
	{closing: {kind: 'quorum', count: 2, deadlineMs: 40}, ...ownPace},
	{closing: {kind: 'quorum', count: 2, deadlineMs: 40, late: 'carry'}, ...ownPace},
	{closing: {kind: 'overselect', count: 3}, selection: {kind: 'random'}, ...ownPace},
	{closing: {kind: 'overselect', count: 3, late: 'carry'}, selection: {kind: 'random'}, ...ownPace},
	{closing: {kind: 'adaptive', k: 1}, ...ownPace},
	{closing: {kind: 'adaptive', k: 0, late: 'carry'}, ...ownPace},
];
const asynchronous: Part[] = [
	{aggregation: {kind: 'fedasync'}, ...ownPace},
	{aggregation: {kind: 'fedasync', staleness: {kind: 'constant'}}, update: {kind: 'buffered', count: 3}},
	{aggregation: {kind: 'fedasync', staleness: {kind: 'hinge'}}, mainServer: false},
	{aggregation: {kind: 'fedbuff', count: 2}, ...ownPace},
	{aggregation: {kind: 'fedbuff', count: 3}, mainServer: false},
];

/** Five unequal clients, one much slower. */
const scenarioOf = (part: Part) =>
	simScenario({
		clients: 5,
		training: {steps: 4, stepsPerRound: 2},
		fleet: {profile: 'lognormal-0.6'},
		faults: [{kind: 'straggle', client: 'c3', factor: 20, fromMs: 0}],
		...part,
	});

for (const part of [...selections, ...closings, ...asynchronous]) {
	test(`a run ends and its trace holds with ${JSON.stringify(part)}`, async t => {
		const {summary, rows} = await simulate(scenarioOf(part));
		t.is(summary.status, 'done', summary.reason);
		t.true(rows.some(row => row.kind === 'round' && Number(row.adapterVersion) > 0 && Number(row.uploads) > 0));
	});
}
