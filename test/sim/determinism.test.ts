import {readdir, readFile} from 'node:fs/promises';
import {join} from 'node:path';
import ava from 'ava';
import {type Broker, startBroker} from '../../runtime/bus/broker.ts';
import {connectNats} from '../../runtime/bus/nats.ts';
import {findBroker} from '../../runtime/setup/find-broker.ts';
import {testWith} from '../_helpers/optional.ts';
import {randomScenario} from '../_helpers/random-scenario.ts';
import {type SimulateOptions, simScenario, simulate} from '../_helpers/simulate.ts';

async function traceOf(folder: string): Promise<string> {
	const names = (await readdir(join(folder, 'trace'))).toSorted();
	const files = await Promise.all(names.map(name => readFile(join(folder, 'trace', name))));
	return files.map((file, index) => `${names[index]}\n${file.toString('base64')}`).join('\n');
}

const found = findBroker();
let broker: Broker | undefined;
ava.before(async () => {
	broker = found && (await startBroker({binary: found.binary}));
});
ava.after.always(() => broker?.stop());

const overNats = (run: string): SimulateOptions => ({
	run,
	connectReal: name => connectNats({url: broker!.url, name, onNotice: () => undefined}),
});

async function recorded(seed: number, options: SimulateOptions = {}) {
	let trace = '';
	const run = await simulate(randomScenario(seed), {
		read: async folder => {
			trace = await traceOf(folder);
		},
		...options,
	});
	const {run: _, ...summary} = run.summary;
	const {messagesCarried, ...figures} = run.figures;
	return {trace, metrics: run.metrics, summary, figures, messagesCarried};
}

const first = Number(process.env.CUTLAYER_SEED ?? 1000);
const count = process.env.CUTLAYER_TESTS === 'long' ? 30 : 6;

for (const seed of Array.from({length: count}, (_, index) => first + index)) {
	testWith(found?.binary)(
		`the random scenario of seed ${seed} gives the same trace, rows and figures twice in memory and once over NATS`,
		async t => {
			const again = `CUTLAYER_SEED=${seed} npx ava test/sim/determinism.test.ts --match '*seed ${seed} *'`;
			const runs = [await recorded(seed), await recorded(seed), await recorded(seed, overNats(`sim-${seed}`))];
			const [once, twice, nats] = runs.map(({messagesCarried: _, ...run}) => run);
			t.true(once!.trace.length > 100);
			t.deepEqual(twice, once, again);
			t.deepEqual(nats, once, again);
			t.is(runs[0]!.messagesCarried, 0);
			t.true(runs[2]!.messagesCarried > 10 || once!.summary.steps === 0, again);
		},
	);
}

ava('a training with real arithmetic gives the same rows twice, and other rows for another seed', async t => {
	const scenario = (seed: number) => simScenario({seed, fleet: {profile: 'lognormal-0.6'}});
	const [one, two, other] = [
		await simulate(scenario(5), {arithmetic: 'real'}),
		await simulate(scenario(5), {arithmetic: 'real'}),
		await simulate(scenario(6), {arithmetic: 'real'}),
	];
	t.is(one.summary.status, 'done');
	t.is(one.metrics, two.metrics);
	t.not(one.metrics, other.metrics);
});
