/**
Seeded faults in durable runs over a real broker: actors and the broker die at random moments, several in one run. No step is lost
or taken twice, and every run ends with the losses of an undisturbed one.
*/
import type {Scenario, ScenarioFile} from '../../protocols/scenario.ts';
import {randomStream} from '../../runtime/random.ts';
import {findBroker} from '../../runtime/setup/find-broker.ts';
import {nativeBackend} from '../_helpers/backend.ts';
import {DurableRun} from '../_helpers/durable-run.ts';
import {testWith} from '../_helpers/optional.ts';
import {tinyBench, tinyScenario} from '../_helpers/tiny-run.ts';

const bench = await tinyBench(await nativeBackend(), 'tiny-gpt2');
const isLong = process.env.CUTLAYER_TESTS === 'long';
const count = isLong ? Number(process.env.CUTLAYER_COUNT ?? 200) : 1;
const firstSeed = Number(process.env.CUTLAYER_SEED ?? 0);

const scenario: Scenario = tinyScenario({
	evaluation: {everyRounds: 0},
	clients: 2,
	training: {steps: 8, stepsPerRound: 4, learningRate: 1e-2},
} as Partial<ScenarioFile>);

const victims = ['main', 'main', 'fed', 'c0', 'c1', 'broker'] as const;

/** Who dies at which message. */
function faultsOf(seed: number): Map<number, (typeof victims)[number]> {
	const stream = randomStream(seed, 'faults');
	const deaths = stream.integer(1, 3);
	return new Map(
		Array.from({length: deaths}, () => [stream.integer(2, 70), victims[stream.integer(0, victims.length - 1)]!]),
	);
}

testWith(findBroker()?.binary)(
	`${count} durable runs in which actors and the broker die take each step once`,
	async t => {
		t.timeout(3_600_000);
		const {rows} = await bench.run(scenario);
		const expected = rows
			.filter(({kind}) => kind === 'step')
			.map(row => [`${row.actor} ${row.round}.${row.step}`, Number(row.loss)] as const);
		for (let seed = firstSeed; seed < firstSeed + count; seed++) {
			const faults = faultsOf(seed);
			const text = `seed ${seed}: ${JSON.stringify([...faults])}`;
			const onMessage = (message: number, run: DurableRun) => {
				const victim = faults.get(message);
				if (victim === 'broker') void run.restartBroker();
				else if (victim) run.killAndRevive(victim);
			};
			const found = await DurableRun.with({scenario, bench, onMessage}, async run => {
				await run.done();
				return run.losses();
			}).catch((error: Error) => error);
			if (found instanceof Error) {
				t.fail(`${text}: ${found.message}`);
				continue;
			}
			t.is(Object.keys(found).length, expected.length, text);
			for (const [step, loss] of expected)
				t.true(Math.abs(found[step]! - loss) < 1e-6, `${text}: ${step} is ${found[step]}, undisturbed ${loss}`);
		}
	},
);
