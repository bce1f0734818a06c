import {readdir, readFile} from 'node:fs/promises';
import {join} from 'node:path';
import test from 'ava';
import type {Fault} from '../../protocols/faults.ts';
import type {ScenarioFile} from '../../protocols/scenario.ts';
import {randomStream} from '../../runtime/random.ts';
import {fleetProfiles} from '../../runtime/sim/devices.ts';
import {simScenario, simulate} from '../_helpers/simulate.ts';

/** A scenario drawn from a seed: fleet, rounds, update mode, closing and faults. */
function randomScenario(seed: number) {
	const random = randomStream(seed, 'determinism');
	const pick = <T>(...items: readonly T[]): T => items[random.integer(0, items.length - 1)]!;
	const clients = random.integer(1, 5);
	const client = () => `c${random.integer(0, clients - 1)}`;
	const time = () => random.integer(0, 400);
	const faults: Fault[] = [];
	for (let left = random.integer(0, 3); left > 0; left--) {
		const atMs = time();
		faults.push(
			pick<Fault>(
				{kind: 'straggle', client: client(), factor: 20, fromMs: atMs, toMs: atMs + 100},
				{kind: 'spike', client: client(), atMs, delayMs: 50},
				{kind: 'dropout', client: client(), atMs, isAnnounced: pick(true, false)},
				{kind: 'crash', client: client(), atMs, returnMs: atMs + 90},
				{kind: 'partition', clients: [client()], fromMs: atMs, toMs: atMs + 60},
				{kind: 'loss', rate: 0.1, fromMs: 0},
				{kind: 'duplication', rate: 0.2, fromMs: 0},
			),
		);
	}
	const file: Partial<ScenarioFile> = {
		seed,
		clients,
		faults,
		fleet: {profile: pick(...fleetProfiles)},
		mainServer: pick(true, true, false),
		update: {kind: pick('parallel' as const, 'sequential' as const)},
		closing: pick({kind: 'all' as const}, {kind: 'quorum' as const, fraction: 0.5, deadlineMs: 2000}),
		training: {steps: random.integer(2, 5), stepsPerRound: random.integer(1, 3)},
		timing: {answerTimeoutMs: 300, heartbeatMs: 200, leaseMs: 2000},
	};
	return simScenario(file);
}

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
