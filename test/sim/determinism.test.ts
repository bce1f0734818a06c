import {readdir, readFile} from 'node:fs/promises';
import {join} from 'node:path';
import test from 'ava';
import {randomScenario} from '../_helpers/random-scenario.ts';
import {simScenario, simulate} from '../_helpers/simulate.ts';

async function traceOf(folder: string): Promise<string> {
	const names = (await readdir(join(folder, 'trace'))).toSorted();
	const files = await Promise.all(names.map(name => readFile(join(folder, 'trace', name))));
	return files.map((file, index) => `${names[index]}\n${file.toString('base64')}`).join('\n');
}

const seeds = Array.from({length: Number(process.env.CUTLAYER_SIM_RUNS ?? 12)}, (_, index) => 1000 + index);

for (const seed of seeds) {
	test(`the random scenario of seed ${seed} gives the same rows and the same trace twice`, async t => {
		const once = async () => {
			let trace = '';
			const run = await simulate(randomScenario(seed), {
				trace: {level: 'digest', code: 'test', backend: 'shapes'},
				read: async folder => {
					trace = await traceOf(folder);
				},
			});
			return {...run, trace};
		};
		const [first, second] = [await once(), await once()];
		t.is(first.metrics, second.metrics);
		t.deepEqual(first.figures, second.figures);
		t.deepEqual(first.summary, second.summary);
		t.true(first.trace.length > 100);
		t.is(first.trace, second.trace, `npx ava test/sim/determinism.test.ts --match '*seed ${seed} *'`);
	});
}

test('a training with real arithmetic gives the same rows twice, and other rows for another seed', async t => {
	const scenario = (seed: number) => simScenario({seed, fleet: {profile: 'lognormal-0.6'}});
	const [first, second, other] = [
		await simulate(scenario(5), {arithmetic: 'real'}),
		await simulate(scenario(5), {arithmetic: 'real'}),
		await simulate(scenario(6), {arithmetic: 'real'}),
	];
	t.is(first.summary.status, 'done');
	t.is(first.metrics, second.metrics);
	t.not(first.metrics, other.metrics);
});
