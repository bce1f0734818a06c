/**
Scenarios drawn from a seed, for tests of what must hold of any run in virtual time.
*/
import type {Fault} from '../../protocols/faults.ts';
import {profiles} from '../../protocols/fleet.ts';
import type {ScenarioFile} from '../../protocols/scenario.ts';
import {randomStream} from '../../runtime/random.ts';
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
				{kind: 'reordering', rate: 0.3, delayMs: 40, fromMs: 0},
				{kind: 'corruption', rate: 0.05, fromMs: 0},
				{kind: 'clog', clients: [client()], fromMs: atMs, toMs: atMs + 80},
				{kind: 'flap', client: client(), fromMs: atMs, hereMs: 120, awayMs: 60, isAnnounced: pick(true, false)},
				{kind: 'flaky', rate: 0.3, awayMs: 100, isAnnounced: pick(true, false), fromMs: 0},
				{kind: 'broker-restart', atMs, awayMs: 50},
				...(clients > 1 ? [{kind: 'late-join', client: 'c0', atMs} as const] : []),
				{kind: 'empty-shard', client: client()},
				{kind: 'non-finite', client: client(), atMs, tensor: pick('activations', 'adapter')},
			),
		);
	}
	const file: Partial<ScenarioFile> = {
		seed,
		clients,
		faults,
		fleet: {profile: pick(...profiles), dayMs: 2400},
		mainServer: pick(true, true, false),
		...policiesOf(seed, clients),
		training: {steps: random.integer(2, 5), stepsPerRound: random.integer(1, 3)},
		timing: {answerTimeoutMs: 300, heartbeatMs: 200, leaseMs: 2000},
	};
	return simScenario(file);
}

/** Policies that fit each other and so many clients: rounds of all, or asynchronous ones. */
function policiesOf(seed: number, clients: number): Partial<ScenarioFile> {
	const random = randomStream(seed, 'policies');
	const pick = <T>(...items: readonly T[]): T => items[random.integer(0, items.length - 1)]!;
	const upTo = (most: number) => random.integer(1, most);
	const late = pick('drop', 'carry');
	if (random.integer(0, 3) === 0) {
		return {
			update: pick({kind: 'sequential'}, {kind: 'buffered', count: upTo(clients)}),
			aggregation: pick({kind: 'fedasync'}, {kind: 'fedbuff', count: upTo(clients)}),
		};
	}
	const needed = upTo(clients);
	const isOverselected = random.integer(0, 4) === 0;
	const count = isOverselected ? {} : {count: upTo(clients)};
	return {
		update: pick(
			{kind: 'parallel'},
			{kind: 'sequential'},
			{kind: 'replicas'},
			{kind: 'buffered', count: upTo(clients)},
		),
		selection: pick<NonNullable<ScenarioFile['selection']>>(
			...(isOverselected && needed < clients ? [] : [{kind: 'all' as const}, {kind: 'available' as const}]),
			{kind: 'random', ...count},
			{kind: 'oort', ...count},
			{kind: 'power-of-choice', ...count, candidates: clients},
		),
		closing: isOverselected
			? {kind: 'overselect', count: needed, factor: Math.min(1.3, clients / needed), late}
			: pick(
					{kind: 'all'},
					{kind: 'quorum', fraction: 0.5, deadlineMs: 2000, late},
					{kind: 'adaptive', k: 1, firstDeadlineMs: 500, late},
				),
		aggregation: pick({kind: 'fedavg'}, {kind: 'fedadam'}, {kind: 'median'}, {kind: 'fedprox'}),
	};
}
