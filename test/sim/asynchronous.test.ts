/**
FedAsync and FedBuff with real arithmetic from end to end.
*/
import test from 'ava';
import type {ScenarioFile} from '../../protocols/scenario.ts';
import {type Simulated, simScenario, simulate} from '../_helpers/simulate.ts';

type Aggregation = NonNullable<ScenarioFile['aggregation']>;

const training = {steps: 6, stepsPerRound: 2};
const run = (aggregation: Aggregation, part: Partial<ScenarioFile> = {}) =>
	simulate(simScenario({update: {kind: 'sequential'}, training, aggregation, ...part}), {arithmetic: 'real'});
const lossesOf = ({rows}: Simulated) =>
	rows.filter(({kind}) => kind === 'step' || kind === 'eval').map(({loss}) => Number(loss));

test('one client alone trains alike under FedAvg, FedAsync that takes all of an upload, and FedBuff of one', async t => {
	const [mean, mixed, added] = [
		await run({kind: 'fedavg'}, {clients: 1}),
		await run({kind: 'fedasync', mixing: 1}, {clients: 1}),
		await run({kind: 'fedbuff', count: 1}, {clients: 1}),
	];
	t.is(lossesOf(mean).length, 6 + 4);
	t.deepEqual(lossesOf(mixed), lossesOf(mean));
	for (const [index, loss] of lossesOf(mean).entries())
		t.true(Math.abs(lossesOf(added)[index]! - loss) < 1e-5 * loss, `${lossesOf(added)} ${lossesOf(mean)}`);
});

test('clients at their own pace train, by each staleness function otherwise, and nobody waits for a slow one', async t => {
	const slow: Partial<ScenarioFile> = {faults: [{kind: 'straggle', client: 'c3', factor: 1e6, fromMs: 0}], clients: 4};
	const seen = new Map<string, string>();
	const rules: Aggregation[] = [
		{kind: 'fedasync', staleness: {kind: 'constant'}},
		{kind: 'fedasync', staleness: {kind: 'polynomial'}},
		{kind: 'fedasync', staleness: {kind: 'hinge', a: 10, b: 1}},
		{kind: 'fedbuff', count: 2},
	];
	for (const rule of rules) {
		const {summary, rows} = await run(rule, slow);
		t.is(summary.status, 'done', summary.reason);
		const losses = summary.evaluations.map(({loss}) => loss);
		t.true(losses.at(-1)! < losses[0]!, `${JSON.stringify(rule)} ${losses}`);
		t.false(seen.has(losses.join()), `${JSON.stringify(rule)} gives the losses of ${seen.get(losses.join())}`);
		seen.set(losses.join(), JSON.stringify(rule));
		// As many uploads as three rounds of four clients.
		const perAggregation = rule.kind === 'fedbuff' ? 2 : 1;
		t.is(rows.filter(({kind}) => kind === 'round').length, 12 / perAggregation);
		t.is(
			Object.values(summary.adapterStaleness).reduce((sum, count) => sum + count, 0),
			12,
		);
		t.true(summary.adapterStalenessMax >= 2 / perAggregation, JSON.stringify(summary.adapterStaleness));
		const roundsOf = (client: string) =>
			new Set(rows.filter(row => row.kind === 'step' && row.actor === client).map(row => row.round));
		t.true(roundsOf('c0').size > roundsOf('c3').size);
	}
});
