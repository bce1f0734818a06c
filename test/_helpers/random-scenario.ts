/**
Scenarios drawn from a seed, for tests of what must hold of any run in virtual time.
*/
import type {Fault} from '../../protocols/faults.ts';
import type {ScenarioFile} from '../../protocols/scenario.ts';
import {randomStream} from '../../runtime/random.ts';
import {fleetProfiles} from '../../runtime/sim/devices.ts';
import {simScenario} from './simulate.ts';

/** A scenario drawn from a seed: fleet, rounds, update mode, closing and faults. */
export function randomScenario(seed: number) {
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
