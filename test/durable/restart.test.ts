/**
Durable runs over a real broker: whoever is killed in the midst of one goes on where it was, and what the run learns is what it
learns undisturbed.
*/
import type {ExecutionContext} from 'ava';
import type {Scenario, ScenarioFile} from '../../protocols/scenario.ts';
import {findBroker} from '../../runtime/setup/find-broker.ts';
import {checkTrace} from '../../runtime/trace/invariants.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {DurableRun} from '../_helpers/durable-run.ts';
import {testWith} from '../_helpers/optional.ts';
import {tinyBench, tinyScenario} from '../_helpers/tiny-run.ts';
import {withTrace} from '../_helpers/traces.ts';

const bench = await tinyBench(await nativeBackend(), 'tiny-gpt2');
const binary = findBroker()?.binary;

const scenarioOf = (changes: Partial<ScenarioFile> = {}): Scenario =>
	tinyScenario({
		evaluation: {everyRounds: 0},
		clients: 2,
		training: {steps: 12, stepsPerRound: 4, learningRate: 1e-2},
		...changes,
	} as Partial<ScenarioFile>);

/** Losses of the same scenario with nobody killed, by client, round and step. */
async function undisturbed(scenario: Scenario): Promise<Record<string, number>> {
	const {rows} = await bench.run(scenario);
	return Object.fromEntries(
		rows.filter(({kind}) => kind === 'step').map(row => [`${row.actor} ${row.round}.${row.step}`, Number(row.loss)]),
	);
}

function sameLosses(t: ExecutionContext, found: Record<string, number>, expected: Record<string, number>): void {
	t.deepEqual(Object.keys(found).sort(), Object.keys(expected).sort());
	for (const [step, loss] of Object.entries(expected))
		t.true(Math.abs(found[step]! - loss) < 1e-6, `${step}: ${found[step]} and undisturbed ${loss}`);
}

type Case = {
	readonly what: string;
	readonly disturb: (run: DurableRun) => unknown;
	readonly changes?: Partial<ScenarioFile>;
};
const cases: readonly Case[] = [
	{what: 'with nobody killed', disturb: () => undefined},
	{what: 'whose main server is killed', disturb: run => run.killAndRevive('main')},
	{what: 'whose client is killed', disturb: run => run.killAndRevive('c0')},
	{what: 'whose fed server is killed', disturb: run => run.killAndRevive('fed')},
	{
		what: 'whose main server is killed while another stands by',
		disturb: run => {
			run.standBy({kind: 'main-server', id: 'main'});
			run.kill('main');
		},
	},
	{what: 'whose broker is killed', disturb: run => run.restartBroker()},
];

for (const {what, disturb, changes} of cases) {
	testWith(binary)(`a durable run ${what} takes each step once, with the losses of an undisturbed one`, async t => {
		const scenario = scenarioOf(changes);
		const expected = await undisturbed(scenario);
		const onMessage = (count: number, run: DurableRun) => {
			if (count === 40) disturb(run);
		};
		await DurableRun.with({scenario, bench, isTraced: true, onMessage}, async run => {
			await run.done();
			sameLosses(t, run.losses(), expected);
			await run.end();
			const {violations, counts} = await withTrace(run.folder, checkTrace);
			t.deepEqual(violations, []);
			t.true((counts['steps applied'] ?? 0) >= Object.keys(expected).length - 2, JSON.stringify(counts));
		});
	});
}
